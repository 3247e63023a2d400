/** How a client proves who it is and checks whom it talks to, as plain data that can cross into a thread. */
import { readFileSync } from "node:fs";
import { type ChannelCredentials, credentials as grpcCredentials } from "@grpc/grpc-js";
import { FedloomError, messageOf } from "../base/errors.ts";

export type Credentials =
  /** Without encryption: for loopback only, the coordinator sees to that. */
  | { readonly kind: "insecure" }
  /** PEM texts. Without key and certificate the client proves nothing. */
  | {
      readonly kind: "tls";
      readonly authority: string;
      readonly key?: string;
      readonly certificate?: string;
    };

export const INSECURE: Credentials = { kind: "insecure" };

export function channelCredentials(credentials: Credentials): ChannelCredentials {
  if (credentials.kind === "insecure") return grpcCredentials.createInsecure();
  const { authority, key, certificate } = credentials;
  return grpcCredentials.createSsl(
    Buffer.from(authority),
    key === undefined ? null : Buffer.from(key),
    certificate === undefined ? null : Buffer.from(certificate),
  );
}

/** @throws FedloomError F1001 for a file that cannot be read, or a key without a certificate */
export function loadCredentials(files: {
  readonly authority?: string;
  readonly key?: string;
  readonly certificate?: string;
}): Credentials {
  const { authority, key, certificate } = files;
  if (authority === undefined && key === undefined && certificate === undefined) return INSECURE;
  if (authority === undefined || (key === undefined) !== (certificate === undefined)) {
    throw new FedloomError(
      "F1001",
      "Cannot use TLS: wanted the authority's certificate, and key and certificate of the client together or not at all",
    );
  }
  const read = (path: string): string => {
    try {
      return readFileSync(path, "utf8");
    } catch (cause) {
      throw new FedloomError("F1001", `Cannot read "${path}": ${messageOf(cause)}`, { path }, { cause });
    }
  };
  return {
    kind: "tls",
    authority: read(authority),
    ...(key === undefined ? {} : { key: read(key) }),
    ...(certificate === undefined ? {} : { certificate: read(certificate) }),
  };
}
