/** The schema, one step a version; `PRAGMA user_version` says how many steps a file has taken. Steps are never changed. */
export const MIGRATIONS: readonly string[] = [
  `CREATE TABLE runs (
     id TEXT PRIMARY KEY,
     key TEXT NOT NULL UNIQUE,
     config TEXT NOT NULL,
     created_at_ms INTEGER NOT NULL
   ) STRICT;
   CREATE TABLE events (
     run TEXT NOT NULL REFERENCES runs (id),
     seq INTEGER NOT NULL,
     at_ms INTEGER NOT NULL,
     event TEXT NOT NULL,
     hash TEXT NOT NULL,
     PRIMARY KEY (run, seq)
   ) STRICT, WITHOUT ROWID;`,
];
