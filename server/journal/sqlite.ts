/**
 * The store in one SQLite file: write-ahead log, on disk before anyone is told, locked for as long as it is open.
 *
 * SQLite writes a commit to the log and does not sync it (synchronous = NORMAL); we sync the log's file ourselves, off
 * this thread, once for all commits that wait. A crash in between loses whole commits from the end, never a part of
 * one: each frame of the log has a checksum. Checkpoints are synced by SQLite.
 */
import { closeSync, fsync, fsyncSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { promisify } from "node:util";
import { syncDirectory } from "../../adapters/durable-file.ts";
import { FedloomError, messageOf } from "../../base/errors.ts";
import { failpoint } from "../../base/failpoint.ts";
import { runConfig } from "../../config/run.ts";
import type { Registry } from "../identity/registry.ts";
import { contradiction } from "../round.ts";
import type { Sightings } from "../sightings.ts";
import { chainStart, type Link, linkOf, readChain } from "./chain.ts";
import { groupSync } from "./group-sync.ts";
import { MIGRATIONS } from "./migrations.ts";
import { refuseNetworkDisk } from "./network-disk.ts";
import { createSqliteRegistry } from "./sqlite-registry.ts";
import { createSqliteTrail } from "./sqlite-trail.ts";
import type { RunRow, Store, StoredEvent } from "./store.ts";

const FILE = "journal.sqlite";
/** SQLite's primary result code for a file that another process has locked. */
const SQLITE_BUSY = 5;

export interface SqliteStore extends Store {
  readonly registry: Registry;
  readonly sightings: Sightings;
}

/** @throws FedloomError F4002 where another coordinator has it open, F4003 on network disks, F4015 for a newer schema */
export function openSqliteStore(directory: string): SqliteStore {
  write(directory, () => mkdirSync(directory, { recursive: true }));
  refuseNetworkDisk(directory);
  const db = open(join(directory, FILE), directory);
  const log = write(directory, () => {
    const fd = openSync(join(directory, `${FILE}-wal`), "r+");
    fsyncSync(fd);
    syncDirectory(directory); // the log's name too
    return fd;
  });
  const insertRun = db.prepare("INSERT INTO runs (id, key, config, created_at_ms) VALUES (?, ?, ?, ?)");
  const selectRuns = db.prepare("SELECT id, key, config, created_at_ms FROM runs ORDER BY rowid");
  const selectRun = db.prepare("SELECT id, key, config, created_at_ms FROM runs WHERE id = ?");
  const insertEvent = db.prepare("INSERT INTO events (run, seq, at_ms, event, hash) VALUES (?, ?, ?, ?, ?)");
  const selectEvents = db.prepare("SELECT seq, at_ms, event, hash FROM events WHERE run = ? ORDER BY seq");
  const selectSeen = db.prepare("SELECT name, last_seen_at_ms FROM clients");
  const upsertSeen = db.prepare("INSERT OR REPLACE INTO clients (name, last_seen_at_ms) VALUES (?, ?)");
  const selectLast = db.prepare("SELECT seq, hash FROM events WHERE run = ? ORDER BY seq DESC LIMIT 1");

  const trail = createSqliteTrail(db);

  const startOf = (run: string): string => {
    const found = selectRun.get(run);
    if (found === undefined) throw contradiction(`there is no run "${run}"`);
    return chainStart(asWritten(found));
  };
  const insert = (run: string, before: string, events: readonly StoredEvent[]): void => {
    let hash = before;
    for (const event of events) {
      const link = linkOf(hash, event);
      insertEvent.run(run, link.seq, link.atMs, link.json, link.hash);
      hash = link.hash;
    }
  };
  /** All of it or nothing, in the log. */
  const commit = (act: () => void): void =>
    write(directory, () => {
      db.exec("BEGIN IMMEDIATE");
      try {
        act();
        db.exec("COMMIT");
      } catch (error) {
        if (db.isTransaction) db.exec("ROLLBACK");
        throw error;
      }
    });
  const transact = (act: () => void): void => {
    write(directory, () => failpoint("server.event-appending"));
    commit(act);
  };
  const onDisk = groupSync(async () => {
    try {
      failpoint("server.event-syncing");
      await promisify(fsync)(log);
    } catch (cause) {
      throw unwritable(directory, cause);
    }
  });

  /** For what is rare and small: it waits for the disk here. */
  const bring = (act: () => void): void => {
    transact(act);
    write(directory, () => fsyncSync(log));
  };

  return {
    registry: createSqliteRegistry(db, { write: bring, note: trail.insert }),
    trail: { add: async (entry) => bring(() => trail.insert(entry)), newest: trail.newest },
    sightings: {
      read: async () =>
        new Map(selectSeen.all().map((row) => [String(row.name), Number(row.last_seen_at_ms)])),
      // Not synced: the next event's sync takes it along.
      write: async (seen) =>
        commit(() => {
          for (const [client, atMs] of seen) upsertSeen.run(client, atMs);
        }),
    },
    async createRun(row, begun = [], entry) {
      transact(() => {
        insertRun.run(row.id, row.key, JSON.stringify(row.config), row.createdAtMs);
        insert(row.id, chainStart(row), begun);
        if (entry !== undefined) trail.insert(entry);
      });
      await onDisk();
    },
    runs: async () => selectRuns.all().map(toRow),
    async append(run, after, events) {
      const last = selectLast.get(run);
      const held = last === undefined ? 0 : Number(last.seq);
      if (held !== after) throw contradiction(`run "${run}" has ${held} events, not ${after}`);
      const before = last === undefined ? startOf(run) : String(last.hash);
      transact(() => insert(run, before, events));
      await onDisk();
      failpoint("server.event-appended");
    },
    async read(run, after = 0) {
      const links = selectEvents.all(run).map(
        (row): Link => ({
          seq: Number(row.seq),
          atMs: Number(row.at_ms),
          json: String(row.event),
          hash: String(row.hash),
        }),
      );
      return readChain(run, startOf(run), links).slice(after);
    },
    async close() {
      await onDisk().catch(() => undefined); // no sync may be under way when its file closes; who waited for it was told
      db.close();
      closeSync(log);
    },
  };
}

function open(path: string, directory: string): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path);
    // Exclusive: the lock is the operating system's, so that it ends with the process, however that ends.
    db.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
    db.exec("PRAGMA foreign_keys = ON; BEGIN EXCLUSIVE;");
    migrate(db, directory);
    db.exec("COMMIT");
    return db;
  } catch (cause) {
    db?.close();
    if (cause instanceof FedloomError) throw cause;
    if (resultCode(cause) === SQLITE_BUSY) {
      throw new FedloomError(
        "F4002",
        `Cannot open the state directory "${directory}": another coordinator works in it`,
        { directory },
        { cause },
      );
    }
    throw new FedloomError(
      "F4001",
      `Cannot read the journal "${path}": ${messageOf(cause)}`,
      { path },
      { cause },
    );
  }
}

function migrate(db: DatabaseSync, directory: string): void {
  const version = Number(db.prepare("PRAGMA user_version").get()?.user_version);
  if (version > MIGRATIONS.length) {
    throw new FedloomError(
      "F4015",
      `Cannot open the state directory "${directory}": its schema has version ${version}, this fedloom knows ${MIGRATIONS.length}; upgrade fedloom`,
      { directory, version, known: MIGRATIONS.length },
    );
  }
  for (const step of MIGRATIONS.slice(version)) db.exec(step);
  db.exec(`PRAGMA user_version = ${MIGRATIONS.length}`);
}

function write<T>(directory: string, act: () => T): T {
  try {
    return act();
  } catch (cause) {
    throw unwritable(directory, cause);
  }
}

function unwritable(directory: string, cause: unknown): FedloomError {
  return new FedloomError(
    "F4004",
    `Cannot write the journal in "${directory}": ${messageOf(cause)}`,
    { directory },
    { cause },
  );
}

function resultCode(error: unknown): number {
  // The low byte of an extended result code is the primary one: https://sqlite.org/rescode.html
  return error instanceof Error && "errcode" in error ? Number(error.errcode) & 0xff : 0;
}

function toRow(row: Record<string, unknown>): RunRow {
  const written = asWritten(row);
  return { ...written, config: runConfig.parse(written.config) };
}

function asWritten(row: Record<string, unknown>): Omit<RunRow, "config"> & { readonly config: unknown } {
  return {
    id: String(row.id),
    key: String(row.key),
    config: JSON.parse(String(row.config)),
    createdAtMs: Number(row.created_at_ms),
  };
}
