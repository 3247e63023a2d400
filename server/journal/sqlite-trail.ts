/** The audit trail in the journal's database. */
import type { DatabaseSync } from "node:sqlite";
import type { AuditEntry, Trail } from "./trail.ts";

/** `insert` is for a transaction of the caller's: an entry is kept with what it tells of. */
export function createSqliteTrail(
  db: DatabaseSync,
): Pick<Trail, "newest"> & { insert(entry: AuditEntry): void } {
  const insertEntry = db.prepare("INSERT INTO audit (at_ms, who, what) VALUES (?, ?, ?)");
  const selectNewest = db.prepare("SELECT at_ms, who, what FROM audit ORDER BY id DESC LIMIT ?");
  return {
    insert({ atMs, who, what }) {
      insertEntry.run(atMs, who, what);
    },
    newest: async (count) =>
      selectNewest
        .all(count)
        .map((row) => ({ atMs: Number(row.at_ms), who: String(row.who), what: String(row.what) }))
        .reverse(),
  };
}
