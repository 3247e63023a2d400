/** The registry in the journal's database. */
import type { DatabaseSync } from "node:sqlite";
import type { Registry, Role, Site, TokenRow } from "../identity/registry.ts";

type Row = Record<string, unknown>;

/** @param write runs a change and brings it to disk */
export function createSqliteRegistry(db: DatabaseSync, write: (act: () => void) => void): Registry {
  const insertToken = db.prepare("INSERT INTO tokens (hash, role, name, expires_at_ms) VALUES (?, ?, ?, ?)");
  const selectToken = db.prepare("SELECT * FROM tokens WHERE hash = ?");
  const updateToken = db.prepare("UPDATE tokens SET used_at_ms = ? WHERE hash = ? AND used_at_ms IS NULL");
  const deleteTokens = db.prepare(
    "DELETE FROM tokens WHERE role = 'client' AND name = ? AND used_at_ms IS NULL AND expires_at_ms >= ?",
  );
  const selectSites = db.prepare("SELECT * FROM sites ORDER BY name");
  const selectSite = db.prepare("SELECT * FROM sites WHERE name = ?");
  const upsertSite = db.prepare(
    "INSERT OR REPLACE INTO sites (name, enrolled_at_ms, not_after_ms, revoked_at_ms) VALUES (?, ?, ?, ?)",
  );
  const insertAudit = db.prepare("INSERT INTO audit (at_ms, who, what) VALUES (?, ?, ?)");
  const selectAudit = db.prepare("SELECT at_ms, who, what FROM audit ORDER BY id DESC LIMIT ?");
  return {
    async addToken({ hash, role, name, expiresAtMs }) {
      write(() => insertToken.run(hash, role, name, expiresAtMs));
    },
    async token(hash) {
      const row = selectToken.get(hash);
      return row === undefined ? undefined : toToken(row);
    },
    async useToken(hash, atMs) {
      let changes = 0;
      write(() => {
        changes = Number(updateToken.run(atMs, hash).changes);
      });
      return changes === 1;
    },
    async withdrawTokens(site, nowMs) {
      let changes = 0;
      write(() => {
        changes = Number(deleteTokens.run(site, nowMs).changes);
      });
      return changes;
    },
    sites: async () => selectSites.all().map(toSite),
    async site(name) {
      const row = selectSite.get(name);
      return row === undefined ? undefined : toSite(row);
    },
    async putSite({ name, enrolledAtMs, notAfterMs, revokedAtMs }) {
      write(() => upsertSite.run(name, enrolledAtMs, notAfterMs, revokedAtMs ?? null));
    },
    async audit({ atMs, who, what }) {
      write(() => insertAudit.run(atMs, who, what));
    },
    audits: async (count) =>
      selectAudit
        .all(count)
        .map((row) => ({ atMs: Number(row.at_ms), who: String(row.who), what: String(row.what) }))
        .reverse(),
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
  return row.used_at_ms === null ? token : { ...token, usedAtMs: Number(row.used_at_ms) };
}

function toSite(row: Row): Site {
  const site = {
    name: String(row.name),
    enrolledAtMs: Number(row.enrolled_at_ms),
    notAfterMs: Number(row.not_after_ms),
  };
  return row.revoked_at_ms === null ? site : { ...site, revokedAtMs: Number(row.revoked_at_ms) };
}
