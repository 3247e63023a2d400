/**
 * What an operator hands to a site: the site's name, the fingerprint of the coordinator's authority, by which the
 * site knows the coordinator before it trusts it, and a secret that works once.
 *
 *   fedloom-join~<name>~<fingerprint, base64url>~<secret, base64url>
 */
import { randomBytes } from "node:crypto";
import { FedloomError } from "../base/errors.ts";

const PREFIX = "fedloom-join";
const SECRET_BYTES = 32;

export interface JoinToken {
  readonly name: string;
  /** SHA-256 of the authority's certificate in DER, in hexadecimal digits. */
  readonly fingerprint: string;
  readonly secret: Uint8Array;
}

export function newSecret(): Uint8Array {
  return randomBytes(SECRET_BYTES);
}

export function formatJoinToken({ name, fingerprint, secret }: JoinToken): string {
  const parts = [Buffer.from(fingerprint, "hex"), Buffer.from(secret)].map((bytes) =>
    bytes.toString("base64url"),
  );
  return `${PREFIX}~${name}~${parts.join("~")}`;
}

/** @throws FedloomError F5012; the message does not repeat the token */
export function parseJoinToken(text: string): JoinToken {
  const [prefix, name = "", fingerprint = "", secret = ""] = text.trim().split("~");
  const token = {
    name,
    fingerprint: Buffer.from(fingerprint, "base64url").toString("hex"),
    secret: Buffer.from(secret, "base64url"),
  };
  const sound = prefix === PREFIX && token.fingerprint.length === 64 && token.secret.length === SECRET_BYTES;
  if (sound && name !== "") return token;
  throw new FedloomError("F5012", "Cannot join: the join token is not whole; copy it again, as one line");
}
