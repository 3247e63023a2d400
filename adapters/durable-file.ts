/** Files that are either the old ones or the new ones, also after a crash in the middle of writing. */
import { createHash } from "node:crypto";
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { copyFile, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { FedloomError, messageOf } from "../base/errors.ts";

/**
 * Writes a temporary neighbor of `path`, brings it to disk, and gives it the name.
 *
 * @param fill writes the content, by any number of calls of `write`
 * @returns size and SHA-256 of what was written
 * @throws FedloomError F3005 if the disk refuses; whatever `fill` throws; `path` is then as it was
 */
export function replaceFile(
  path: string,
  fill: (write: (bytes: Uint8Array) => void) => void,
): { readonly bytes: number; readonly sha256: string } {
  const temporary = `${path}.${process.pid}.tmp`;
  const hash = createHash("sha256");
  let size = 0;
  const fd = onDisk(path, () => openSync(temporary, "w", 0o644));
  try {
    fill((bytes) => {
      hash.update(bytes);
      for (let written = 0; written < bytes.length; ) {
        written += onDisk(path, () => writeSync(fd, bytes, written, bytes.length - written));
      }
      size += bytes.length;
    });
    onDisk(path, () => fsyncSync(fd));
  } catch (error) {
    closeSync(fd);
    rmSync(temporary, { force: true });
    throw error;
  }
  closeSync(fd);
  onDisk(path, () => renameSync(temporary, path));
  syncDirectory(dirname(path));
  return { bytes: size, sha256: hash.digest("hex") };
}

/** As `replaceFile` with the content of another file; nothing of it passes through this process, and nothing waits. */
export async function replaceWithCopy(path: string, source: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await copyFile(source, temporary);
    const file = await open(temporary, "r+");
    await file.sync().finally(() => file.close());
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw unwritable(path, cause);
  }
  syncDirectory(dirname(path));
}

/** As a whole or not at all, and for the owner's eyes only from its first byte on. @throws what the file system says */
export function replaceSecret(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, text, { mode: 0o600, flush: true });
  renameSync(temporary, path);
  syncDirectory(dirname(path));
}

/** The new name is on disk only when its directory is. Windows cannot open directories and needs no such step. */
export function syncDirectory(directory: string): void {
  if (process.platform === "win32") return;
  onDisk(directory, () => {
    const fd = openSync(directory, "r");
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  });
}

function onDisk<T>(path: string, act: () => T): T {
  try {
    return act();
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

function unwritable(path: string, cause: unknown): FedloomError {
  return new FedloomError("F3005", `Cannot write "${path}": ${messageOf(cause)}`, { path }, { cause });
}
