/** The registry in the journal's database. */
import type { DatabaseSync } from "node:sqlite";
import type { Registry, Role, Site, TokenRow } from "../identity/registry.ts";
import type { AuditEntry } from "./trail.ts";

type Row = Record<string, unknown>;

export interface RegistryParts {
  /** Runs changes as one and brings them to disk. */
  write(act: () => void): void;
  /** Writes an entry, as one of those changes. */
  note(entry: AuditEntry): void;
}

export function createSqliteRegistry(db: DatabaseSync, { write, note }: RegistryParts): Registry {
  const insertToken = db.prepare("INSERT INTO tokens (hash, role, name, expires_at_ms) VALUES (?, ?, ?, ?)");
  const selectToken = db.prepare("SELECT * FROM tokens WHERE hash = ?");
  const spendToken = db.prepare(
    "UPDATE tokens SET used_at_ms = ?1, key_hash = ?2 WHERE hash = ?3 AND (used_at_ms IS NULL OR key_hash = ?2)",
  );
  const deleteSpent = db.prepare(
    "DELETE FROM tokens WHERE role = 'client' AND name = ? AND used_at_ms IS NOT NULL AND hash <> ?",
  );
  const deletePending = db.prepare(
    "DELETE FROM tokens WHERE role = 'client' AND name = ? AND used_at_ms IS NULL AND expires_at_ms >= ?",
  );
  const deleteOperators = db.prepare("DELETE FROM tokens WHERE role <> 'client' AND name = ?");
  const deleteTokens = db.prepare("DELETE FROM tokens WHERE role = 'client' AND name = ?");
  const selectSites = db.prepare("SELECT * FROM sites ORDER BY name");
  const upsertSite = db.prepare(
    "INSERT OR REPLACE INTO sites (name, enrolled_at_ms, not_after_ms, revoked_at_ms) VALUES (?, ?, ?, ?)",
  );
  const put = ({ name, enrolledAtMs, notAfterMs, revokedAtMs }: Site): void => {
    upsertSite.run(name, enrolledAtMs, notAfterMs, revokedAtMs ?? null);
  };
  const withdraw = (act: () => number | bigint, entryOf: (count: number) => AuditEntry): number => {
    let count = 0;
    write(() => {
      count = Number(act());
      if (count > 0) note(entryOf(count));
    });
    return count;
  };
  return {
    async addToken({ hash, role, name, expiresAtMs }, entry) {
      write(() => {
        insertToken.run(hash, role, name, expiresAtMs);
        note(entry);
      });
    },
    async token(hash) {
      const row = selectToken.get(hash);
      return row === undefined ? undefined : toToken(row);
    },
    async enroll({ hash, keyHash }, site, entry) {
      let won = false;
      write(() => {
        won = spendToken.run(site.enrolledAtMs, keyHash, hash).changes === 1;
        if (!won) return;
        deleteSpent.run(site.name, hash);
        put(site);
        note(entry);
      });
      return won;
    },
    withdrawTokens: async (site, nowMs, entryOf) =>
      withdraw(() => deletePending.run(site, nowMs).changes, entryOf),
    dismiss: async (operator, entryOf) => withdraw(() => deleteOperators.run(operator).changes, entryOf),
    sites: async () => selectSites.all().map(toSite),
    async putSite(site, entry) {
      write(() => {
        put(site);
        note(entry);
      });
    },
    async revoke(site, entry) {
      write(() => {
        deleteTokens.run(site.name);
        put(site);
        note(entry);
      });
    },
  };
}

function toToken(row: Row): TokenRow {
  const token = {
    hash: String(row.hash),
    // as: the table's check lets only roles in.
    role: String(row.role) as Role,
    name: String(row.name),
    expiresAtMs: Number(row.expires_at_ms),
  };
  return {
    ...token,
    ...(row.used_at_ms !== null && { usedAtMs: Number(row.used_at_ms) }),
    ...(row.key_hash !== null && { keyHash: String(row.key_hash) }),
  };
}

function toSite(row: Row): Site {
  const site = {
    name: String(row.name),
    enrolledAtMs: Number(row.enrolled_at_ms),
    notAfterMs: Number(row.not_after_ms),
  };
  return row.revoked_at_ms === null ? site : { ...site, revokedAtMs: Number(row.revoked_at_ms) };
}
