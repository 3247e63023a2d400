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
  `CREATE TABLE sites (
     name TEXT PRIMARY KEY,
     enrolled_at_ms INTEGER NOT NULL,
     not_after_ms INTEGER NOT NULL,
     revoked_at_ms INTEGER
   ) STRICT;
   CREATE TABLE tokens (
     hash TEXT PRIMARY KEY,
     role TEXT NOT NULL CHECK (role IN ('client', 'operator', 'viewer')),
     name TEXT NOT NULL,
     expires_at_ms INTEGER NOT NULL,
     used_at_ms INTEGER
   ) STRICT;
   CREATE TABLE audit (
     id INTEGER PRIMARY KEY,
     at_ms INTEGER NOT NULL,
     who TEXT NOT NULL,
     what TEXT NOT NULL
   ) STRICT;`,
  `CREATE TABLE clients (
     name TEXT PRIMARY KEY,
     last_seen_at_ms INTEGER NOT NULL
   ) STRICT, WITHOUT ROWID;`,
  "ALTER TABLE tokens ADD COLUMN key_hash TEXT;",
];
