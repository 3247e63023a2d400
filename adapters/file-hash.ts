/** The SHA-256 of a file, read in parts: memory stays bounded whatever the file's size. Blocks, for worker threads. */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";

/** Stays in the processor's cache between reading and hashing. */
const PART_BYTES = 2 ** 18;
/** Of this thread; nothing keeps its bytes. */
let buffer: Uint8Array | undefined;

/** @throws what the file system throws */
export function hashFile(path: string): string {
  const hash = createHash("sha256");
  buffer ??= new Uint8Array(PART_BYTES);
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
