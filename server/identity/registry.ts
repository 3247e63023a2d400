/**
 * Who may take part: sites by name, the tokens they joined with, operators' tokens, and who did what.
 * Secrets are kept as hashes only.
 */

export type Role = "client" | "operator" | "viewer";

export interface Site {
  readonly name: string;
  readonly enrolledAtMs: number;
  /** End of the newest certificate. */
  readonly notAfterMs: number;
  readonly revokedAtMs?: number;
}

export interface TokenRow {
  /** SHA-256 of the secret. */
  readonly hash: string;
  readonly role: Role;
  /** The site that may join with it, or the operator that uses it. */
  readonly name: string;
  readonly expiresAtMs: number;
  readonly usedAtMs?: number;
}

export interface AuditEntry {
  readonly atMs: number;
  /** "site-7", "operator anna", "127.0.0.1:5000". */
  readonly who: string;
  readonly what: string;
}

export interface Registry {
  addToken(row: TokenRow): Promise<void>;
  token(hash: string): Promise<TokenRow | undefined>;
  /** Marks a token used. @returns false where it was used before: of two that come at once, one wins */
  useToken(hash: string, atMs: number): Promise<boolean>;
  /** Takes back the unused tokens of a site that count at `nowMs`. @returns how many there were */
  withdrawTokens(site: string, nowMs: number): Promise<number>;
  /** By name. */
  sites(): Promise<readonly Site[]>;
  site(name: string): Promise<Site | undefined>;
  /** Replaces the site of that name. */
  putSite(site: Site): Promise<void>;
  audit(entry: AuditEntry): Promise<void>;
  /** The newest `count`, the newest last. */
  audits(count: number): Promise<readonly AuditEntry[]>;
}
