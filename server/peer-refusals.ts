/** What a peer says that cannot be meant, in the words of a refusal. */
import { FedloomError } from "../base/errors.ts";
import { SHA256_HEX } from "../base/hash.ts";
import type { BlobRef as WireRef } from "../proto/gen/fedloom/v1/fleet_pb.ts";
import type { BlobRef } from "./records.ts";

/** @throws FedloomError F5005 for a reference that cannot be one */
export function refOf(client: string, ref: WireRef | undefined): BlobRef {
  if (ref === undefined) throw broken(`client "${client}"`, "a message lacks a blob");
  const size = Number(ref.size);
  if (!Number.isSafeInteger(size)) throw broken(`client "${client}"`, `a blob cannot have ${ref.size} bytes`);
  return { sha256: hashOf(client, ref.sha256), size };
}

export function hashOf(client: string, sha256: string, what = "a blob's name"): string {
  if (SHA256_HEX.test(sha256)) return sha256;
  throw broken(`client "${client}"`, `${what} must be 64 lower-case hexadecimal digits`);
}

export function broken(who: string, why: string): FedloomError {
  return new FedloomError("F5005", `Cannot understand ${who}: ${why}`, { peer: who });
}

/** What a connection ends with whose client takes nothing of what it is sent. */
export function unread(client: string): FedloomError {
  return new FedloomError("F5007", `Cannot keep the connection of client "${client}": it does not read`, {
    client,
  });
}
