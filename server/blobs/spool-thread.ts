/** A thread that hashes what is spooled, writes it and looks whether it is finite, while its caller's thread goes on. */
import { Worker } from "node:worker_threads";
import { finiteBits } from "../../adapters/cast.ts";
import { cannotSpool, type Extent, type Spool } from "../../base/spool.ts";

export interface Spooled {
  readonly sha256: string;
  readonly extent: Extent;
  /** As finiteWords has it. */
  readonly finite: boolean;
}

/** Bytes for the thread, at the beginning of a slot's memory, which comes along when the thread has not seen it yet. */
interface Order {
  readonly at: number;
  readonly size: number;
  readonly slot: number;
  readonly memory?: SharedArrayBuffer;
}

type Answer = Pick<Spooled, "sha256" | "finite"> | { readonly error: string };

interface Pending {
  readonly slot: number;
  readonly extent: Extent;
  resolve(spooled: Spooled): void;
  reject(error: unknown): void;
}

/**
 * Blobs that the thread has: what it answers is heard when its caller's thread comes to rest, and until then it needs
 * something to go on with.
 */
const SLOTS = 3;
/** Smaller ones gain little by it, and larger ones would take much memory, which stays. */
const LEAST_BYTES = 2 ** 19;
const MOST_BYTES = 2 ** 22;
/** Its heap holds next to nothing. */
const YOUNG_MB = 1;

export class SpoolThread {
  readonly #spool: Spool;
  readonly #memories = Array.from({ length: SLOTS }, () => new SharedArrayBuffer(0));
  readonly #free = Array.from({ length: SLOTS }, (_, slot) => slot);
  /** In the order in which the thread has them. */
  readonly #pending: Pending[] = [];
  #worker: Worker | undefined;

  /** @param spool stays open until this is closed; the thread starts with the first blob */
  constructor(spool: Spool) {
    this.#spool = spool;
  }

  /**
   * @param pieces `size` bytes in all; they are the caller's again at once
   * @returns undefined where the thread has enough to do, or there are too few or too many bytes: the caller writes itself
   * @throws (the promise) FedloomError F4004 where the disk refuses; nothing is then kept
   */
  write(pieces: readonly Uint8Array[], size: number): Promise<Spooled> | undefined {
    const slot = size < LEAST_BYTES || size > MOST_BYTES ? undefined : this.#free.pop();
    if (slot === undefined) return undefined;
    const isNew = this.#memories[slot]!.byteLength < size;
    if (isNew) this.#memories[slot] = new SharedArrayBuffer(size);
    const memory = this.#memories[slot]!;
    const bytes = new Uint8Array(memory);
    let filled = 0;
    for (const piece of pieces) {
      bytes.set(piece, filled);
      filled += piece.length;
    }
    const extent = this.#spool.reserve(size);
    this.#worker ??= this.#start();
    this.#worker.ref(); // an idle thread keeps no process alive
    const order: Order = { at: extent.at, size, slot, ...(isNew && { memory }) };
    this.#worker.postMessage(order);
    return new Promise((resolve, reject) => this.#pending.push({ slot, extent, resolve, reject }));
  }

  /** Ends the thread; what it has not written yet is rejected. */
  async close(): Promise<void> {
    await this.#worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(PROGRAM, {
      eval: true,
      workerData: this.#spool.fd,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
    });
    worker.on("message", (answer: Answer) => {
      const { slot, extent, resolve, reject } = this.#pending.shift()!; // it answers each order, in their order
      this.#free.push(slot);
      if (this.#pending.length === 0) worker.unref();
      if ("sha256" in answer) return resolve({ sha256: answer.sha256, extent, finite: answer.finite });
      this.#spool.free(extent);
      reject(cannotSpool(answer.error));
    });
    const ended = (cause?: unknown): void => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      this.#memories.fill(new SharedArrayBuffer(0)); // another thread has not seen them
      for (const { slot, extent, reject } of this.#pending.splice(0)) {
        this.#free.push(slot);
        this.#spool.free(extent);
        reject(new Error("The thread that writes the temporary file ended", { cause }));
      }
    };
    worker.once("error", ended);
    worker.once("exit", ended);
    return worker;
  }
}

/**
 * Whether four bytes at a time, from the first on, are finite numbers if read as float32. If they are, so is every float32
 * tensor that lies at a multiple of four bytes; if not, nothing is said: what they are may be a header, or another type's.
 */
export function finiteWords(pieces: readonly Uint8Array[]): boolean {
  return pieces.every(
    ({ buffer, byteOffset, length }) =>
      byteOffset % 4 === 0 && length % 4 === 0 && finiteBits(new Int32Array(buffer, byteOffset, length / 4)),
  );
}

/**
 * What the thread does. It is handed over as text, and names nothing of this module: so the thread takes 11 MiB, and 28 if
 * it loads the modules that these lines could call instead.
 *
 * @param finite finiteBits
 */
function work(finite: typeof finiteBits): void {
  const { writeSync } = require("node:fs") as typeof import("node:fs");
  const { createHash } = require("node:crypto") as typeof import("node:crypto");
  const { parentPort, workerData } = require("node:worker_threads") as typeof import("node:worker_threads");
  const answer = (what: Answer): void => parentPort!.postMessage(what); // a worker has one
  const memories: SharedArrayBuffer[] = [];
  parentPort!.on("message", ({ at, size, slot, memory }: Order) => {
    if (memory !== undefined) memories[slot] = memory;
    const bytes = new Uint8Array(memories[slot]!, 0, size);
    try {
      for (let written = 0; written < size; ) {
        written += writeSync(workerData, bytes, written, size - written, at + written);
      }
      const sha256 = createHash("sha256").update(bytes).digest("hex");
      answer({ sha256, finite: size % 4 === 0 && finite(new Int32Array(memories[slot]!, 0, size / 4)) });
    } catch (error) {
      answer({ error: error instanceof Error ? error.message : String(error) });
    }
  });
}

const PROGRAM = `(${work})(${finiteBits})`;
