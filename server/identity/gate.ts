/**
 * Who gets in: join tokens become certificates, certificates become names, revoked names stay out. Everything that
 * changes who may do what is in the audit trail.
 */
import { create } from "@bufbuild/protobuf";
import type { Clock } from "../../base/clock.ts";
import { FedloomError } from "../../base/errors.ts";
import { failpoint } from "../../base/failpoint.ts";
import { sha256 } from "../../base/hash.ts";
import type { Log } from "../../base/log.ts";
import { NAME } from "../../config/run.ts";
import type { Enrolment, Peer } from "../../proto/fleet.ts";
import {
  EnrollResponseSchema,
  type NewKey,
  RenewResponseSchema,
} from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import { formatJoinToken, newSecret } from "../../proto/join-token.ts";
import { provenKey } from "../../proto/key-proof.ts";
import type { AuditEntry } from "../journal/trail.ts";
import { MAX_CERTIFICATES_A_DAY } from "../limits.ts";
import { type Authority, CLIENT_MS } from "./authority.ts";
import type { Registry, Role, Site } from "./registry.ts";

const DAY_MS = 86_400_000;
/** Certificates are dated back by so much (certificate.ts), and by no more. */
const DATED_BACK_MS = 6 * 60_000;

export interface Certified {
  readonly name: string;
  readonly validFromMs: number;
  readonly validToMs: number;
}

export class Gate {
  readonly authority: Authority;
  readonly registry: Registry;
  readonly names: readonly string[];
  readonly #clock: Clock;
  readonly #log: Log;
  /** All sites, so that a call is checked without a look at the disk. */
  readonly #sites = new Map<string, Site>();
  /** When certificates were made in the last day, by site. */
  readonly #issuedAtMs = new Map<string, readonly number[]>();
  readonly #onRevoked: (name: string) => void;

  private constructor(parts: GateParts) {
    this.authority = parts.authority;
    this.registry = parts.registry;
    this.names = parts.names ?? [];
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#onRevoked = parts.onRevoked;
  }

  static async open(parts: GateParts): Promise<Gate> {
    const gate = new Gate(parts);
    for (const site of await parts.registry.sites()) gate.#sites.set(site.name, site);
    return gate;
  }

  /** A join token for a site: works for one key, within `validMs`. A revoked site may be invited anew. */
  async invite(name: string, validMs: number, by: string): Promise<string> {
    if (!NAME.test(name)) {
      throw new FedloomError(
        "F4018",
        `Cannot invite ${JSON.stringify(name.slice(0, 80))}: a site's name must be 1 to 64 of A-Z a-z 0-9 . _ -`,
      );
    }
    const secret = newSecret();
    const expiresAtMs = this.#clock.now() + validMs;
    const entry = this.#entry(by, `invited site ${name}`);
    await this.registry.addToken({ hash: sha256(secret), role: "client", name, expiresAtMs }, entry);
    this.#tell(entry);
    return formatJoinToken({ name, fingerprint: this.authority.fingerprint, secret });
  }

  /**
   * Takes back the join tokens of a site that nobody has used yet.
   *
   * @returns how many there were
   * @throws FedloomError F4025 where there is none: it was used, it expired, or the name is another one
   */
  async withdraw(name: string, by: string): Promise<number> {
    const entryOf = (count: number): AuditEntry =>
      this.#entry(by, `withdrew ${count} join ${count === 1 ? "token" : "tokens"} of site ${name}`);
    const count = await this.registry.withdrawTokens(name, this.#clock.now(), entryOf);
    if (count === 0) {
      throw new FedloomError(
        "F4025",
        `Cannot withdraw a join token of site "${name.slice(0, 64)}": none is pending; keep a site that has joined out with "fedloom revoke"`,
        { name },
      );
    }
    this.#tell(entryOf(count));
    return count;
  }

  /** A bearer token for the operator's interface. */
  async admitOperator(
    name: string,
    role: Exclude<Role, "client">,
    validMs: number,
    by: string,
  ): Promise<string> {
    const secret = Buffer.from(newSecret()).toString("base64url");
    const entry = this.#entry(by, `gave ${name} a token as ${role}`);
    await this.registry.addToken(
      { hash: sha256(secret), role, name, expiresAtMs: entry.atMs + validMs },
      entry,
    );
    this.#tell(entry);
    return secret;
  }

  /**
   * Takes back all tokens of an operator or viewer, at once.
   *
   * @returns how many there were
   * @throws FedloomError F4025 where there is none
   */
  async dismiss(name: string, by: string): Promise<number> {
    const entryOf = (count: number): AuditEntry =>
      this.#entry(by, `withdrew ${count} ${count === 1 ? "token" : "tokens"} of ${name}`);
    const count = await this.registry.dismiss(name, entryOf);
    if (count === 0) {
      throw new FedloomError(
        "F4025",
        `Cannot withdraw a token of "${name.slice(0, 64)}": neither operator nor viewer of this name has one`,
        { name },
      );
    }
    this.#tell(entryOf(count));
    return count;
  }

  /** @returns name and role, or undefined for a token that does not count */
  async operator(bearer: string): Promise<{ readonly name: string; readonly role: Role } | undefined> {
    const row = await this.registry.token(sha256(bearer));
    if (row === undefined || row.role === "client" || row.expiresAtMs < this.#clock.now()) return undefined;
    return { name: row.name, role: row.role };
  }

  /** Keeps a site out from now on: its connection ends, its certificate and its join tokens stop counting. */
  async revoke(name: string, by: string): Promise<void> {
    const site = this.#sites.get(name);
    if (site === undefined) {
      throw new FedloomError("F4023", `Cannot revoke site "${name}": there is none of this name`, { name });
    }
    const entry = this.#entry(by, `revoked site ${name}`);
    const revoked = { ...site, revokedAtMs: entry.atMs };
    await this.registry.revoke(revoked, entry);
    this.#sites.set(name, revoked);
    this.#tell(entry);
    this.#onRevoked(name);
  }

  /** Whether a site is enrolled and not revoked. */
  admits(name: string): boolean {
    const site = this.#sites.get(name);
    return site !== undefined && site.revokedAtMs === undefined;
  }

  sites(): readonly Site[] {
    return [...this.#sites.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * Whether a certificate of our authority counts.
   *
   * @throws FedloomError F5014 where it does not, with the reason
   */
  check(address: string, certified: Certified | undefined): string {
    const refuse = (why: string): FedloomError =>
      new FedloomError("F5014", `Cannot serve ${address}: ${why}`, { peer: address });
    if (certified === undefined)
      throw refuse(
        "it shows no certificate of this coordinator, or one that has expired; enroll it with a join token",
      );
    const { name, validFromMs, validToMs } = certified;
    const site = this.#sites.get(name);
    if (site === undefined) throw refuse(`there is no site "${name}"; enroll it`);
    if (site.revokedAtMs !== undefined) throw refuse(`site "${name}" was revoked`);
    if (validFromMs + DATED_BACK_MS < site.enrolledAtMs) {
      throw refuse(`site "${name}" was enrolled anew, its old certificate does not count any more`);
    }
    if (validToMs < this.#clock.now())
      throw refuse(`the certificate of site "${name}" has expired; enroll it anew`);
    return name;
  }

  /** What peers may ask for, before and after they are known. */
  enrolment(peer: Peer): Enrolment {
    return {
      enroll: async ({ clientId, secret, key }) => {
        const refuse = (why: string): FedloomError =>
          new FedloomError("F5012", `Cannot enroll ${peer.address}: ${why}`, { peer: peer.address });
        const hash = sha256(secret);
        const now = this.#clock.now();
        const token = await this.registry.token(hash);
        // One answer for all that is wrong with a token: who guesses learns nothing.
        const sound = token?.role === "client" && token.name === clientId && token.expiresAtMs >= now;
        if (!sound) throw refuse("the join token does not count, or not any more; ask for a new one");
        const publicKey = this.#keyOf(peer, clientId, key);
        this.#countCertificate(clientId);
        const certificatePem = await this.authority.issueClient(clientId, publicKey);
        const keyHash = sha256(publicKey.export({ type: "spki", format: "der" }));
        const site = { name: clientId, enrolledAtMs: now, notAfterMs: now + CLIENT_MS };
        // Who was not answered, because one of us died, comes again with the key that the token is spent on.
        const how =
          token.usedAtMs === undefined ? "enrolled" : "enrolled again, with the same token and key,";
        const entry = this.#entry(clientId, `${how} from ${peer.address}`);
        if (!(await this.registry.enroll({ hash, keyHash }, site, entry)))
          throw refuse("the join token was used before; ask for a new one");
        this.#sites.set(clientId, site);
        this.#tell(entry);
        failpoint("server.site-enrolled");
        return create(EnrollResponseSchema, { certificatePem, authorityPem: this.authority.pem });
      },
      renew: async ({ clientId, key }) => {
        const site = this.#sites.get(clientId);
        if (peer.provenName !== clientId || site === undefined) {
          throw new FedloomError(
            "F5014",
            `Cannot renew the certificate of "${clientId.slice(0, 64)}" for ${peer.address}: it is not that site`,
          );
        }
        const publicKey = this.#keyOf(peer, clientId, key);
        this.#countCertificate(clientId);
        const certificatePem = await this.authority.issueClient(clientId, publicKey);
        const entry = this.#entry(clientId, `renewed its certificate from ${peer.address}`);
        await this.#put({ ...site, notAfterMs: entry.atMs + CLIENT_MS }, entry);
        return create(RenewResponseSchema, { certificatePem });
      },
    };
  }

  #keyOf(peer: Peer, clientId: string, key: NewKey | undefined) {
    const proven = key === undefined ? undefined : provenKey(clientId, key);
    if (proven !== undefined) return proven;
    throw new FedloomError(
      "F5005",
      `Cannot certify a key of ${peer.address}: it must be a P-256 key with a proof that the peer holds it`,
      { peer: peer.address },
    );
  }

  /** @throws FedloomError F5007 where a site has had more certificates in a day than any honest one */
  #countCertificate(name: string): void {
    const now = this.#clock.now();
    const recent = (this.#issuedAtMs.get(name) ?? []).filter((atMs) => now - atMs < DAY_MS);
    if (recent.length >= MAX_CERTIFICATES_A_DAY) {
      throw new FedloomError(
        "F5007",
        `Cannot make another certificate for site "${name}": the limit is ${MAX_CERTIFICATES_A_DAY} in a day`,
        { name },
      );
    }
    this.#issuedAtMs.set(name, [...recent, now]);
  }

  async #put(site: Site, entry: AuditEntry): Promise<void> {
    await this.registry.putSite(site, entry);
    this.#sites.set(site.name, site);
    this.#tell(entry);
  }

  #entry(who: string, what: string): AuditEntry {
    return { atMs: this.#clock.now(), who, what };
  }

  #tell({ who, what }: AuditEntry): void {
    this.#log.info("Audit", { who, what });
  }
}

export interface GateParts {
  /** Names and addresses that the coordinator is reached by, beside those that it finds on its own machine. */
  readonly names?: readonly string[] | undefined;
  readonly authority: Authority;
  readonly registry: Registry;
  readonly clock: Clock;
  readonly log: Log;
  onRevoked(name: string): void;
}
