/**
 * X.509 certificates of a coordinator's own authority: itself, servers, clients. Keys are P-256.
 *
 * The library that writes them is loaded with the first certificate: commands that need no TLS start without it.
 */
import { createPublicKey, type KeyObject, randomBytes } from "node:crypto";
import { isIP } from "node:net";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

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
export async function issueCertificate(issuer: Issuer, request: CertificateRequest): Promise<string> {
  await import("reflect-metadata"); // the library's own wish, before it is loaded
  const x509 = await import("@peculiar/x509");
  const { name, publicKey, use, hosts = [], nowMs, lifetimeMs } = request;
  const authority = use === "authority";
  const subjectKey = publicKey.toCryptoKey(ALGORITHM, true, ["verify"]);
  const issuerKey = createPublicKey(issuer.key).toCryptoKey(ALGORITHM, true, ["verify"]);
  const { serverAuth, clientAuth } = x509.ExtendedKeyUsage;
  const { keyCertSign, cRLSign, digitalSignature } = x509.KeyUsageFlags;
  const extensions = [
    new x509.BasicConstraintsExtension(authority, undefined, true),
    new x509.KeyUsagesExtension(authority ? keyCertSign | cRLSign : digitalSignature, true),
    ...(authority ? [] : [new x509.ExtendedKeyUsageExtension([use === "server" ? serverAuth : clientAuth])]),
    ...(hosts.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(hosts.map(hostName))]),
    await x509.SubjectKeyIdentifierExtension.create(subjectKey),
    await x509.AuthorityKeyIdentifierExtension.create(issuerKey),
  ];
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: [{ CN: [name] }],
    issuer: [{ CN: [issuer.name] }],
    notBefore: new Date(nowMs - BACKDATE_MS),
    notAfter: new Date(nowMs + lifetimeMs),
    signingAlgorithm: ALGORITHM,
    publicKey: subjectKey,
    signingKey: issuer.key.toCryptoKey(ALGORITHM, true, ["sign"]),
    extensions,
  });
  return `${certificate.toString("pem")}\n`;
}

/** 16 random bytes as a positive number, in hexadecimal digits. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x7f) | 0x40; // a set first bit would be a sign, leading zeros would be cut
  return bytes.toString("hex");
}

function hostName(host: string): { readonly type: "ip" | "dns"; readonly value: string } {
  const bare = host.replace(/^\[|\]$/g, "");
  return isIP(bare) === 0 ? { type: "dns", value: host } : { type: "ip", value: bare };
}
