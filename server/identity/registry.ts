/** Who may take part: sites by name, the tokens they joined with, operators' tokens. Secrets are kept as hashes only. */
import type { AuditEntry } from "../journal/trail.ts";

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
  /** SHA-256 of the public key that a site spent it on; none for what was spent before keys were noted. */
  readonly keyHash?: string;
}

/** Each change is kept together with its entry in the audit trail, or neither is. */
export interface Registry {
  addToken(row: TokenRow, entry: AuditEntry): Promise<void>;
  token(hash: string): Promise<TokenRow | undefined>;
  /**
   * Spends a token on a site's key; tokens that the site spent before are forgotten.
   *
   * @returns false where the token is spent on another key: of two that come at once, one wins
   */
  enroll(
    spent: { readonly hash: string; readonly keyHash: string },
    site: Site,
    entry: AuditEntry,
  ): Promise<boolean>;
  /** Takes back the unused tokens of a site that count at `nowMs`. @returns how many there were; none is no change */
  withdrawTokens(site: string, nowMs: number, entryOf: (count: number) => AuditEntry): Promise<number>;
  /** Takes back all tokens of an operator or viewer. @returns how many there were; none is no change */
  dismiss(operator: string, entryOf: (count: number) => AuditEntry): Promise<number>;
  /** By name. */
  sites(): Promise<readonly Site[]>;
  /** Replaces the site of that name. */
  putSite(site: Site, entry: AuditEntry): Promise<void>;
  /** The same for a site that is kept out: its tokens go too. */
  revoke(site: Site, entry: AuditEntry): Promise<void>;
}
