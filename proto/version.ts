/** What this side speaks, and the one check of what the other side does. */
import { create } from "@bufbuild/protobuf";
import { FedloomError } from "../base/errors.ts";
import packageJson from "../package.json" with { type: "json" };
import { type ProtocolVersion, ProtocolVersionSchema } from "./gen/fedloom/v1/fleet_pb.ts";

/** Raised when an older peer would misunderstand. */
export const PROTOCOL_MAJOR = 1;
/** Raised when something is added that an older peer can ignore. */
export const PROTOCOL_MINOR = 0;
export const SOFTWARE = `fedloom ${packageJson.version}`;

/** Of a peer's name for itself, as far as a message repeats it. */
const MAX_SOFTWARE_CHARACTERS = 64;

export function ownVersion(): ProtocolVersion {
  return create(ProtocolVersionSchema, { major: PROTOCOL_MAJOR, minor: PROTOCOL_MINOR, software: SOFTWARE });
}

/** @throws FedloomError F5002 unless the peer speaks our major version */
export function checkVersion(peer: string, version: ProtocolVersion | undefined): void {
  const theirs = version?.major ?? 0;
  if (theirs === PROTOCOL_MAJOR) return;
  const software = version?.software.slice(0, MAX_SOFTWARE_CHARACTERS) || "unknown software";
  const older = theirs < PROTOCOL_MAJOR ? peer : "this side";
  throw new FedloomError(
    "F5002",
    `Cannot talk to ${peer}: this side (${SOFTWARE}) speaks protocol ${PROTOCOL_MAJOR}.${PROTOCOL_MINOR}, ` +
      `the other (${software}) ${theirs}.${version?.minor ?? 0}; upgrade ${older}`,
    { peer, ours: PROTOCOL_MAJOR, theirs },
  );
}
