/**
 * The coordinator's own certificate authority, in files of the state directory:
 *
 *   DIR/ca/authority.pem, authority.key   the authority; the key never leaves this machine
 *   DIR/ca/server.pem, server.key         what the coordinator shows to clients; made anew before it ends
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject, X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import { replaceSecret } from "../../adapters/durable-file.ts";
import type { Clock } from "../../base/clock.ts";
import { FedloomError } from "../../base/errors.ts";
import { sha256 } from "../../base/hash.ts";
import { issueCertificate } from "./certificate.ts";

const DAY_MS = 86_400_000;
/** An authority outlives any study; a new one means enrolling every site again. */
const AUTHORITY_MS = 20 * 365 * DAY_MS;
/** Short enough that a lost key stops counting by itself, long enough for a site that is off for a month. */
export const CLIENT_MS = 90 * DAY_MS;
/**
 * A coordinator may run for years without a start, and a start is when its certificate is made. A short life would
 * protect nothing: its key lies beside the authority's, which could sign another.
 */
const SERVER_MS = 10 * 365 * DAY_MS;
/** A server's certificate is made anew, at a start, when so little of it is left. */
const SERVER_RENEW_MS = 5 * 365 * DAY_MS;

export interface Authority {
  readonly pem: string;
  /** SHA-256 of the authority's certificate in DER, as join tokens carry it. */
  readonly fingerprint: string;
  /** @param hosts names and addresses that clients reach the coordinator by */
  server(hosts: readonly string[]): Promise<{ readonly certificate: string; readonly key: string }>;
  /** @returns PEM */
  issueClient(name: string, publicKey: KeyObject): Promise<string>;
}

export function authorityExists(state: string): boolean {
  return existsSync(join(state, "ca", "authority.key"));
}

/** Makes the authority where there is none; an existing one is left as it is. */
export async function openAuthority(state: string, clock: Clock): Promise<Authority> {
  const directory = join(state, "ca");
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const path = (name: string): string => join(directory, name);
  if (!authorityExists(state)) {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const name = "fedloom coordinator";
    const issuer = { name, key: privateKey };
    const made = { name, publicKey, use: "authority", nowMs: clock.now(), lifetimeMs: AUTHORITY_MS } as const;
    // The key comes last: an authority exists when its key does.
    replaceSecret(path("authority.pem"), await issueCertificate(issuer, made));
    writeKey(path("authority.key"), privateKey);
  }
  const pem = readFileSync(path("authority.pem"), "utf8");
  const certificate = new X509Certificate(pem);
  const issuer = {
    name: certificate.subject.replace(/^CN=/, ""),
    key: createPrivateKey(readFileSync(path("authority.key"))),
  };
  if (!certificate.checkPrivateKey(issuer.key)) {
    throw new FedloomError(
      "F4022",
      `Cannot use the certificate authority in "${directory}": authority.key is not the key of authority.pem; restore both from one copy`,
      { directory },
    );
  }

  return {
    pem,
    fingerprint: sha256(certificate.raw),
    async server(hosts) {
      if (!serves(path("server.pem"), path("server.key"), certificate, hosts, clock.now())) {
        const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
        const use = { name: "fedloom coordinator", publicKey, use: "server", hosts } as const;
        const issued = await issueCertificate(issuer, { ...use, nowMs: clock.now(), lifetimeMs: SERVER_MS });
        replaceSecret(path("server.pem"), issued);
        writeKey(path("server.key"), privateKey);
      }
      return {
        certificate: readFileSync(path("server.pem"), "utf8"),
        key: readFileSync(path("server.key"), "utf8"),
      };
    },
    issueClient: (name, publicKey) =>
      issueCertificate(issuer, { name, publicKey, use: "client", nowMs: clock.now(), lifetimeMs: CLIENT_MS }),
  };
}

/** Whether the server's certificate is the authority's, fits its key, names all hosts and has time left. */
function serves(
  certificatePath: string,
  keyPath: string,
  authority: X509Certificate,
  hosts: readonly string[],
  nowMs: number,
): boolean {
  if (!existsSync(certificatePath) || !existsSync(keyPath)) return false;
  let certificate: X509Certificate;
  let key: KeyObject;
  try {
    certificate = new X509Certificate(readFileSync(certificatePath));
    key = createPrivateKey(readFileSync(keyPath));
  } catch {
    return false; // damaged: nothing depends on this very one
  }
  return (
    certificate.verify(authority.publicKey) &&
    certificate.checkPrivateKey(key) &&
    certificate.validToDate.getTime() - nowMs > SERVER_RENEW_MS &&
    hosts.every((host) => {
      const bare = host.replace(/^\[|\]$/g, "");
      // Each of the two throws for what is the other's.
      const named = isIP(bare) === 0 ? certificate.checkHost(bare) : certificate.checkIP(bare);
      return named !== undefined;
    })
  );
}

function writeKey(path: string, key: KeyObject): void {
  replaceSecret(path, key.export({ type: "pkcs8", format: "pem" }).toString());
}
