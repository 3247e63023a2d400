/** The SHA-256 of a file, read in parts: memory stays bounded whatever the file's size. Blocks, for worker threads. */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";

const PART_BYTES = 2 ** 20;

/** @throws what the file system throws */
export function hashFile(path: string): string {
  const hash = createHash("sha256");
  const buffer = Buffer.allocUnsafe(PART_BYTES);
  const fd = openSync(path, "r");
  try {
    for (;;) {
      const count = readSync(fd, buffer, 0, buffer.length, null);
      if (count === 0) return hash.digest("hex");
      hash.update(buffer.subarray(0, count));
    }
  } finally {
    closeSync(fd);
  }
}
