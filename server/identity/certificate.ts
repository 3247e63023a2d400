/**
 * X.509 certificates of a coordinator's own authority: itself, servers, clients. Keys are P-256.
 *
 * Source: RFC 5280; extensions as https://cabforum.org/working-groups/server/baseline-requirements/ has them for servers
 */
import { createHash, createPublicKey, type KeyObject, randomBytes, sign } from "node:crypto";
import { isIP } from "node:net";
import {
  bits,
  type Der,
  explicit,
  implicit,
  integer,
  octets,
  oid,
  sequence,
  set,
  TRUE,
  text,
  time,
} from "./der.ts";

const ECDSA_WITH_SHA256 = sequence(oid("1.2.840.10045.4.3.2"));
const COMMON_NAME = oid("2.5.4.3");
const EXTENSIONS = {
  subjectKeyId: oid("2.5.29.14"),
  keyUsage: oid("2.5.29.15"),
  alternativeName: oid("2.5.29.17"),
  basicConstraints: oid("2.5.29.19"),
  authorityKeyId: oid("2.5.29.35"),
  extendedUsage: oid("2.5.29.37"),
} as const;
const SERVER_AUTH = oid("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH = oid("1.3.6.1.5.5.7.3.2");

/** Clocks of sites differ: a certificate counts from a little before it was made. */
const BACKDATE_MS = 5 * 60_000;

export interface Issuer {
  readonly name: string;
  readonly key: KeyObject;
}

export interface CertificateRequest {
  readonly name: string;
  readonly publicKey: KeyObject;
  readonly use: "authority" | "server" | "client";
  /** DNS names and IP addresses that a server is reached by. */
  readonly hosts?: readonly string[];
  readonly nowMs: number;
  readonly lifetimeMs: number;
}

/** @returns PEM */
export function issueCertificate(issuer: Issuer, request: CertificateRequest): string {
  const { name, publicKey, use, hosts = [], nowMs, lifetimeMs } = request;
  const body = sequence(
    explicit(0, integer(Buffer.from([2]))), // version 3
    integer(randomBytes(16)),
    ECDSA_WITH_SHA256,
    nameOf(issuer.name),
    sequence(time(nowMs - BACKDATE_MS), time(nowMs + lifetimeMs)),
    nameOf(name),
    publicKey.export({ type: "spki", format: "der" }),
    explicit(
      3,
      sequence(
        extension(EXTENSIONS.basicConstraints, use === "authority" ? sequence(TRUE) : sequence(), {
          critical: true,
        }),
        // keyCertSign and cRLSign, or digitalSignature.
        extension(
          EXTENSIONS.keyUsage,
          use === "authority" ? bits(Buffer.from([0x06]), 1) : bits(Buffer.from([0x80]), 7),
          {
            critical: true,
          },
        ),
        ...(use === "authority"
          ? []
          : [extension(EXTENSIONS.extendedUsage, sequence(use === "server" ? SERVER_AUTH : CLIENT_AUTH))]),
        ...(hosts.length === 0
          ? []
          : [extension(EXTENSIONS.alternativeName, sequence(...hosts.map(hostName)))]),
        extension(EXTENSIONS.subjectKeyId, octets(keyId(publicKey))),
        extension(EXTENSIONS.authorityKeyId, sequence(implicit(0, keyId(createPublicKey(issuer.key))))),
      ),
    ),
  );
  const signature = sign("sha256", body, issuer.key);
  const der = sequence(body, ECDSA_WITH_SHA256, bits(signature));
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

function nameOf(commonName: string): Der {
  return sequence(set(sequence(COMMON_NAME, text(commonName))));
}

function extension(id: Der, value: Der, { critical = false } = {}): Der {
  return sequence(id, ...(critical ? [TRUE] : []), octets(value));
}

function hostName(host: string): Der {
  const bare = host.replace(/^\[|\]$/g, "");
  if (isIP(bare) === 4) return implicit(7, Buffer.from(bare.split(".").map(Number)));
  if (isIP(bare) === 6) return implicit(7, addressBytes(bare));
  return implicit(2, Buffer.from(host, "ascii"));
}

/** The 16 bytes of an IPv6 address, "::" written out. */
function addressBytes(address: string): Uint8Array {
  const [head = "", tail] = address.split("::");
  const groups = (part: string): string[] => (part === "" ? [] : part.split(":"));
  const front = groups(head);
  const back = tail === undefined ? [] : groups(tail);
  const middle = new Array<string>(8 - front.length - back.length).fill("0");
  const words = [...front, ...middle, ...back].map((group) => Number.parseInt(group, 16));
  return Buffer.from(words.flatMap((word) => [word >> 8, word & 0xff]));
}

/** SHA-1 of the key's bits, as RFC 5280 §4.2.1.2 proposes; a name, not a protection. */
function keyId(key: KeyObject): Uint8Array {
  const { x = "", y = "" } = key.export({ format: "jwk" });
  const point = Buffer.concat([Buffer.from([4]), Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]);
  return createHash("sha1").update(point).digest();
}
