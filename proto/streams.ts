/** Moving messages between async iterables and gRPC streams, at the speed of the slower side. */
import type { Readable, Writable } from "node:stream";

/**
 * Writes until the source ends or the stream is closed by the other side.
 *
 * @throws what the source throws
 */
export async function writeAll<T>(stream: Writable, source: AsyncIterable<T>): Promise<void> {
  let closed = stream.destroyed;
  // One waiter at a time: racing each message against one promise for the closing would keep every message alive.
  let wake: (() => void) | undefined;
  const onClose = (): void => {
    closed = true;
    wake?.();
  };
  const onDrain = (): void => wake?.();
  stream.once("close", onClose).once("cancelled", onClose).on("drain", onDrain);
  const iterator = source[Symbol.asyncIterator]();
  try {
    while (!closed) {
      const next = await new Promise<IteratorResult<T> | undefined>((resolve, reject) => {
        wake = () => closed && resolve(undefined);
        iterator.next().then(resolve, reject);
      });
      if (next === undefined || next.done === true || closed) return;
      if (stream.write(next.value)) continue;
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (!stream.writableNeedDrain) resolve();
      });
    }
  } finally {
    stream.off("close", onClose).off("cancelled", onClose).off("drain", onDrain);
    // Not awaited: a generator that waits for something of its own would hold us up.
    iterator.return?.()?.catch(() => undefined);
  }
}

/** Messages whose sending may have to end while their reader takes nothing. */
export interface Cuttable<T> extends AsyncIterable<T> {
  /** Aborts, with the reason, when nobody wants them sent any more. */
  readonly cut?: AbortSignal;
}

/** Resolves when a stream takes more, or is closed. @throws the reason of `cut` once it aborts */
export async function roomIn(stream: Writable, cut: AbortSignal | undefined): Promise<void> {
  cut?.throwIfAborted();
  let wake = (): void => undefined;
  let refuse = (): void => undefined;
  const waiting = new Promise<void>((resolve, reject) => {
    wake = resolve;
    refuse = () => reject(cut?.reason);
  });
  stream.once("drain", wake).once("close", wake);
  cut?.addEventListener("abort", refuse);
  if (stream.destroyed || !stream.writableNeedDrain) wake();
  try {
    await waiting;
  } finally {
    stream.off("drain", wake).off("close", wake);
    cut?.removeEventListener("abort", refuse);
  }
}

/**
 * As writeAll, one message after another: the source is asked for the next when the one before has left for the other
 * side, which a window that stays shut holds back.
 *
 * @throws what the source throws, and the reason of its cut while a message waits to leave
 */
export async function writeEach<T>(stream: Writable, source: Cuttable<T>): Promise<void> {
  const closed = new AbortController();
  const close = (): void => closed.abort(CLOSED);
  if (stream.destroyed) close();
  stream.once("close", close).once("cancelled", close);
  try {
    for await (const message of untilAborted(source, closed.signal)) {
      await leaving(stream, message, [closed.signal, ...(source.cut === undefined ? [] : [source.cut])]);
    }
  } catch (error) {
    if (error !== CLOSED) throw error;
  } finally {
    stream.off("close", close).off("cancelled", close);
  }
}

/** A peer that closes a stream ends what is written to it, and nothing failed. */
const CLOSED = "the other side closed the stream";

/** Writes a message; resolves when it has left. @throws the reason of the first signal that aborts before */
async function leaving<T>(stream: Writable, message: T, ends: readonly AbortSignal[]): Promise<void> {
  let end = (): void => undefined;
  const left = new Promise<void>((resolve, reject) => {
    end = () => reject(ends.find(({ aborted }) => aborted)?.reason);
    if (ends.some(({ aborted }) => aborted)) end();
    else stream.write(message, () => resolve());
  });
  for (const signal of ends) signal.addEventListener("abort", end);
  try {
    await left;
  } finally {
    for (const signal of ends) signal.removeEventListener("abort", end);
  }
}

/** The stream's messages; leaving the loop early leaves the stream open, since a gRPC call still has a status to send. */
export function readAll<T>(stream: Readable): AsyncIterable<T> {
  return { [Symbol.asyncIterator]: () => stream.iterator({ destroyOnReturn: false }) as AsyncIterator<T> };
}

/** The source's messages until the signal aborts, also while it says nothing. @throws the signal's reason */
export async function* untilAborted<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]();
  let wake: (() => void) | undefined;
  const onAbort = (): void => wake?.();
  signal.addEventListener("abort", onAbort);
  try {
    for (;;) {
      signal.throwIfAborted();
      const next = await new Promise<IteratorResult<T>>((resolve, reject) => {
        wake = () => reject(signal.reason);
        iterator.next().then(resolve, reject);
      });
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    // Not awaited: a source that waits for something of its own would hold us up.
    iterator.return?.()?.catch(() => undefined);
  }
}

/** Messages put in by one side and taken by another, in order; without a bound, so only for small and rare messages. */
export class MessageQueue<T> implements AsyncIterable<T> {
  #messages: T[] = [];
  #waiting: { resolve: (result: IteratorResult<T>) => void; reject: (error: unknown) => void } | undefined;
  #ended: { error?: unknown } | undefined;

  push(message: T): void {
    if (this.#ended !== undefined) return;
    if (this.#waiting === undefined) {
      this.#messages.push(message);
      return;
    }
    this.#waiting.resolve({ value: message, done: false });
    this.#waiting = undefined;
  }

  /** Ends the queue after the messages in it; with an error, the reader gets that instead of an end. */
  end(error?: unknown): void {
    if (this.#ended !== undefined) return;
    this.#ended = error === undefined ? {} : { error };
    if (this.#waiting === undefined) return;
    if (error === undefined) this.#waiting.resolve({ value: undefined, done: true });
    else this.#waiting.reject(error);
    this.#waiting = undefined;
  }

  /** How many messages wait; a peer that never reads is cut off by this number. */
  get length(): number {
    return this.#messages.length;
  }

  [Symbol.asyncIterator](): AsyncIterator<T> {
    return {
      next: () => {
        const message = this.#messages.shift();
        if (message !== undefined) return Promise.resolve({ value: message, done: false });
        if (this.#ended?.error !== undefined) return Promise.reject(this.#ended.error);
        if (this.#ended !== undefined) return Promise.resolve({ value: undefined, done: true });
        return new Promise((resolve, reject) => {
          this.#waiting = { resolve, reject };
        });
      },
      return: () => {
        this.end();
        return Promise.resolve({ value: undefined, done: true });
      },
    };
  }
}
