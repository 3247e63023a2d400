/**
 * Bytes of a process that need no memory of it: they lie in a temporary file without a name, which the system takes back
 * when the process ends, however it ends. What is in use stays in the system's file cache, and goes to the disk where
 * memory is wanted for other things.
 */
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writevSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FedloomError, messageOf } from "./errors.ts";

/** Where bytes lie in a spool; it tells whether they still do. */
export class Extent {
  readonly at: number;
  readonly size: number;
  free = false;

  constructor(at: number, size: number) {
    this.at = at;
    this.size = size;
  }
}

/** Pieces that one call of the system takes. */
const MAX_PIECES = 1024;

export class Spool {
  readonly #fd: number;
  /** On systems that delete no open file. */
  readonly #leftover: string | undefined;
  /** Places that were freed, by what they have room for. */
  readonly #places = new Map<number, number[]>();
  #end = 0;

  /** @throws FedloomError F4004 where the folder for temporary files cannot be written */
  constructor() {
    const folder = onDisk(() => mkdtempSync(join(tmpdir(), "fedloom-spool-")));
    this.#fd = onDisk(() => openSync(join(folder, "bytes"), "wx+", 0o600));
    this.#leftover = process.platform === "win32" ? folder : undefined;
    if (this.#leftover === undefined) rmSync(folder, { recursive: true });
  }

  /** @throws FedloomError F4004 where the disk refuses, as when it is full; nothing is then kept */
  write(pieces: readonly Uint8Array[]): Extent {
    const extent = this.reserve(pieces.reduce((sum, { length }) => sum + length, 0));
    try {
      let written = 0;
      for (let left: readonly Uint8Array[] = pieces; left.length > 0; ) {
        const count = onDisk(() => writevSync(this.#fd, left.slice(0, MAX_PIECES), extent.at + written));
        written += count;
        left = behind(left, count);
      }
    } catch (error) {
      this.free(extent);
      throw error;
    }
    return extent;
  }

  /** A place for bytes that somebody else writes (server/blobs/spool-thread.ts). */
  reserve(size: number): Extent {
    const room = roomFor(size);
    const at = this.#places.get(room)?.pop() ?? this.#end;
    if (at === this.#end) this.#end += room;
    return new Extent(at, size);
  }

  /** The temporary file, open for all threads of the process. */
  get fd(): number {
    return this.#fd;
  }

  /** Fills `target` with the bytes from `offset` on. @throws RangeError for bytes that are not there, or not any more */
  read(extent: Extent, offset: number, target: Uint8Array): void {
    if (extent.free) throw new RangeError("These bytes are gone");
    if (offset < 0 || offset + target.length > extent.size) {
      throw new RangeError(`There are ${extent.size} bytes, ${target.length} wanted from ${offset}`);
    }
    for (let filled = 0; filled < target.length; ) {
      const count = readSync(this.#fd, target, filled, target.length - filled, extent.at + offset + filled);
      if (count === 0) throw new RangeError("The temporary file became shorter");
      filled += count;
    }
  }

  /** The bytes' place goes to others. */
  free(extent: Extent): void {
    if (extent.free) return;
    extent.free = true;
    const room = roomFor(extent.size);
    const places = this.#places.get(room) ?? [];
    places.push(extent.at);
    this.#places.set(room, places);
  }

  close(): void {
    closeSync(this.#fd);
    if (this.#leftover !== undefined) rmSync(this.#leftover, { recursive: true, force: true });
  }
}

/** Up to an eighth more than what is wanted, so that places fit others of about the same size. */
function roomFor(size: number): number {
  const step = Math.max(4096, 2 ** (Math.floor(Math.log2(Math.max(1, size))) - 3));
  return Math.ceil(Math.max(1, size) / step) * step;
}

/** What is left of the pieces when their first `count` bytes are written. */
function behind(pieces: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let passed = 0;
  for (const [i, piece] of pieces.entries()) {
    if (passed + piece.length > count) return [piece.subarray(count - passed), ...pieces.slice(i + 1)];
    passed += piece.length;
  }
  return [];
}

function onDisk<T>(act: () => T): T {
  try {
    return act();
  } catch (cause) {
    throw cannotSpool(messageOf(cause), cause);
  }
}

export function cannotSpool(why: string, cause?: unknown): FedloomError {
  const folder = tmpdir();
  return new FedloomError(
    "F4004",
    `Cannot write a temporary file in "${folder}" (TMPDIR names another folder): ${why}`,
    { folder },
    { cause },
  );
}
