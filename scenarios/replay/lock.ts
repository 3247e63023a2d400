/**
 * One replay at a time in an output folder: two would draw each other's stand-ins anew and write one report.
 *
 * The lock is SQLite's, as that of state directories is: it belongs to the process and goes with it, also after
 * `kill -9`, so no stale lock keeps a replay from going on.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { FedloomError, messageOf } from "../../base/errors.ts";

const LOCK = "replay.lock";
/** Who has the lock, for people; nothing is decided by it. */
const HOLDER = "replay.pid";

/**
 * @param out an existing folder
 * @returns gives the folder back
 * @throws FedloomError F6026 where another replay works in the folder; F3005 where it cannot be written
 */
export function lockReplay(out: string): () => void {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(join(out, LOCK), { timeout: 0 });
    database.exec("BEGIN IMMEDIATE"); // a lock on the file as long as the transaction is open
    writeFileSync(join(out, HOLDER), `${process.pid}\n`);
  } catch (cause) {
    database?.close();
    if (messageOf(cause).includes("database is locked")) throw heldBy(holderOf(out), out, cause);
    throw new FedloomError("F3005", `Cannot write to "${out}": ${messageOf(cause)}`, { out }, { cause });
  }
  const held = database;
  return () => {
    rmSync(join(out, HOLDER), { force: true });
    held.close();
  };
}

function heldBy(pid: number | undefined, out: string, cause: unknown): FedloomError {
  const holder = pid === undefined ? "another process" : `process ${pid}`;
  return new FedloomError(
    "F6026",
    `Cannot replay into "${out}": ${holder} replays into it; wait for it, stop it, or take another --out`,
    { out, ...(pid !== undefined && { pid }) },
    { cause },
  );
}

/** Undefined where the holder has not written its number yet. */
function holderOf(out: string): number | undefined {
  try {
    const pid = Number(readFileSync(join(out, HOLDER), "utf8"));
    return pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}
