/**
 * What a client must not forget: who it is, the task it works on, and a finished update until the coordinator
 * has acknowledged it. A crash at any moment leaves the old state or the new one.
 *
 * On disk it is a SQLite file, opened exclusively: the lock belongs to the process and goes with it, also after
 * `kill -9`, so two processes never share a state directory and no stale lock keeps one out.
 */
import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { FedloomError, messageOf } from "../base/errors.ts";
import { failpoint } from "../base/failpoint.ts";
import { sha256 } from "../base/hash.ts";
import { NAME } from "../config/run.ts";
import { type SubmitResultRequest, SubmitResultRequestSchema } from "../proto/gen/fedloom/v1/fleet_pb.ts";
import { type ClientBlobs, createMemoryBlobs, openDiskBlobs } from "./blobs.ts";
import { createMemoryTensors, type LocalTensors, openDiskTensors } from "./local-tensors.ts";

export interface ClientState {
  readonly clientId: string;
  readonly blobs: ClientBlobs;
  /** Tensors that do not travel. */
  readonly local: LocalTensors;
  /** The task that was in work when the process ended last, if it was. */
  noted(): string | undefined;
  note(taskId: string | undefined): void;
  /** Results that the coordinator has not acknowledged, oldest first; damaged ones are left out. Their blobs are in `blobs`. */
  kept(): readonly SubmitResultRequest[];
  keep(result: SubmitResultRequest): void;
  settle(taskId: string): void;
  close(): void;
}

const SCHEMA_VERSION = 1;
const TABLES = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
  -- SQLite does not notice bits that flip inside a row: each result goes with its hash.
  CREATE TABLE kept (task_id TEXT PRIMARY KEY, result BLOB NOT NULL, sha256 TEXT NOT NULL) STRICT;
`;

/**
 * @param name the client's id; without one, the id of an earlier start or a fresh one
 * @throws FedloomError F5105 if another process has the directory, F5111 if another client has,
 *   F5107 if it cannot be written, F5110 for a name that cannot travel
 */
export function openState(directory: string, name?: string): ClientState {
  if (name !== undefined) requireClientId(name);
  const database = openDatabase(directory);
  try {
    const clientId = identify(database, directory, name);
    return stateOf(database, directory, clientId);
  } catch (error) {
    database.close();
    throw error;
  }
}

export function requireClientId(name: string): void {
  if (NAME.test(name)) return;
  throw new FedloomError(
    "F5110",
    `Cannot use "${name}" as a client's name: wanted a letter or digit and then up to 63 of A-Z a-z 0-9 . _ -`,
    { name },
  );
}

function openDatabase(directory: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    mkdirSync(directory, { recursive: true });
    database = new DatabaseSync(join(directory, "client.db"), { timeout: 0 });
    // The lock is taken by the first write and kept until the file is closed.
    database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL; BEGIN IMMEDIATE; COMMIT;");
    return database;
  } catch (cause) {
    database?.close();
    if (messageOf(cause).includes("database is locked")) {
      throw new FedloomError(
        "F5105",
        `Cannot use state directory "${directory}": another process has it; stop that one, or give this client a directory of its own`,
        { directory },
        { cause },
      );
    }
    throw new FedloomError(
      "F5107",
      `Cannot use state directory "${directory}": ${messageOf(cause)}`,
      { directory },
      { cause },
    );
  }
}

function identify(database: DatabaseSync, directory: string, name: string | undefined): string {
  const version = Number(database.prepare("PRAGMA user_version").get()?.user_version);
  if (version > SCHEMA_VERSION) {
    throw new FedloomError(
      "F5111",
      `Cannot use state directory "${directory}": a newer fedloom wrote it (schema ${version}, this one knows ${SCHEMA_VERSION}); upgrade this client`,
      { directory, version },
    );
  }
  if (version === 0) {
    const fresh = name ?? `client-${randomUUID().slice(0, 8)}`;
    database.exec(`BEGIN; ${TABLES} PRAGMA user_version = ${SCHEMA_VERSION};`);
    database.prepare("INSERT INTO meta VALUES ('client_id', ?)").run(fresh);
    database.exec("COMMIT");
    return fresh;
  }
  const known = String(database.prepare("SELECT value FROM meta WHERE key = 'client_id'").get()?.value);
  if (name !== undefined && name !== known) {
    throw new FedloomError(
      "F5111",
      `Cannot start client "${name}" in state directory "${directory}": the directory belongs to client "${known}"`,
      { directory, name, known },
    );
  }
  return known;
}

function stateOf(database: DatabaseSync, directory: string, clientId: string): ClientState {
  const select = database.prepare("SELECT value FROM meta WHERE key = 'task'");
  const insert = database.prepare("INSERT OR REPLACE INTO meta VALUES ('task', ?)");
  const clear = database.prepare("DELETE FROM meta WHERE key = 'task'");
  const selectKept = database.prepare("SELECT result, sha256 FROM kept ORDER BY rowid");
  const insertKept = database.prepare("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)");
  const deleteKept = database.prepare("DELETE FROM kept WHERE task_id = ?");
  const onDisk = <T>(act: () => T): T => {
    try {
      failpoint("client.state-write");
      return act();
    } catch (cause) {
      throw new FedloomError(
        "F5107",
        `Cannot write state directory "${directory}": ${messageOf(cause)}`,
        { directory },
        { cause },
      );
    }
  };
  return {
    clientId,
    blobs: openDiskBlobs(join(directory, "blobs")),
    local: openDiskTensors(join(directory, "local")),
    noted: () => select.get()?.value as string | undefined,
    note: (taskId) => void onDisk(() => (taskId === undefined ? clear.run() : insert.run(taskId))),
    kept: () =>
      selectKept
        .all()
        .filter((row) => sha256(row.result as Uint8Array) === row.sha256)
        .map((row) => fromBinary(SubmitResultRequestSchema, row.result as Uint8Array)),
    keep(result) {
      const bytes = toBinary(SubmitResultRequestSchema, result);
      onDisk(() => insertKept.run(result.taskId, bytes, sha256(bytes)));
      failpoint("client.update-kept");
    },
    settle(taskId) {
      onDisk(() => deleteKept.run(taskId));
      failpoint("client.settled");
    },
    close: () => database.close(),
  };
}

/** For simulated clients, which live and die with their coordinator: a task cut off is trained again. */
export function createMemoryState(
  clientId: string,
  blobs: ClientBlobs = createMemoryBlobs(),
  local: LocalTensors = createMemoryTensors(),
): ClientState {
  requireClientId(clientId);
  const kept = new Map<string, SubmitResultRequest>();
  let noted: string | undefined;
  return {
    clientId,
    blobs,
    local,
    noted: () => noted,
    note(taskId) {
      noted = taskId;
    },
    kept: () => [...kept.values()],
    keep: (result) => void kept.set(result.taskId, result),
    settle: (taskId) => void kept.delete(taskId),
    close() {},
  };
}
