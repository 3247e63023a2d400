/** How a client proves who it is and checks whom it talks to, as plain data that can cross into a thread. */
import { type ChannelCredentials, credentials as grpcCredentials } from "@grpc/grpc-js";

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
