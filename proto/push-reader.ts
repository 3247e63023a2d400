/**
 * The messages of an upload, read from its stream as its bytes come.
 *
 * Payload is handed on in blocks that are smaller than a client's chunks and whose memory is used again: a chunk need not
 * be whole for its bytes to go on, so that an upload that creeps, or a thousand at once, hold a block each and not a chunk,
 * and garbage of a chunk a message is not made.
 *
 * Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md (Length-Prefixed-Message)
 */
import type { Readable } from "node:stream";
import { create, fromBinary } from "@bufbuild/protobuf";
import { FedloomError } from "../base/errors.ts";
import { type PushBlobRequest, PushBlobRequestSchema } from "./gen/fedloom/v1/fleet_pb.ts";

/** Bytes of payload that are handed on at once. Smaller ones cost a write each, larger ones memory for each upload. */
export const BLOCK_BYTES = 256 * 2 ** 10;
/** Blocks that wait to be used again. */
const SPARE_BLOCKS = 16;
/** Compression flag and length of a message. */
const PREFIX_BYTES = 5;
/** What comes before the data of a chunk: two tags of one byte, two lengths of at most five. */
const LEAD_BYTES = 12;

const spare: Buffer[] = [];

/**
 * @param peer what refusals call it
 * @returns messages as they come; the data of one is there until the next is asked for
 * @throws FedloomError F5005 for what is no message, F5007 for one above `maxBytes`
 */
export async function* readPushes(
  source: ByteSource,
  peer: string,
  maxBytes: number,
): AsyncGenerator<PushBlobRequest> {
  const prefix = Buffer.alloc(PREFIX_BYTES);
  for (;;) {
    const read = await source.fill(prefix);
    if (read === 0) return;
    const length = read < PREFIX_BYTES ? Number.NaN : lengthOf(prefix, peer, maxBytes);
    const lead = Buffer.alloc(Math.min(LEAD_BYTES, length || 0));
    if (Number.isNaN(length) || (await source.fill(lead)) < lead.length) throw cutOff(peer);
    const dataAt = startOfData(lead, length);
    if (dataAt !== undefined) {
      yield* blocksOf(source, peer, lead.subarray(dataAt), length - dataAt);
      continue;
    }
    const whole = Buffer.alloc(length);
    lead.copy(whole);
    if ((await source.fill(whole.subarray(lead.length))) < length - lead.length) throw cutOff(peer);
    yield parse(whole, peer);
  }
}

/** @param begun what was read of the data already */
async function* blocksOf(
  source: ByteSource,
  peer: string,
  begun: Buffer,
  length: number,
): AsyncGenerator<PushBlobRequest> {
  const block = spare.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
  try {
    let at = begun.copy(block);
    for (let left = length; left > 0; at = 0) {
      const data = block.subarray(0, Math.min(BLOCK_BYTES, left));
      const rest = data.subarray(at);
      if ((await source.fill(rest)) < rest.length) throw cutOff(peer);
      left -= data.length;
      yield create(PushBlobRequestSchema, { message: { case: "chunk", value: { data } } });
    }
  } finally {
    if (spare.length < SPARE_BLOCKS) spare.push(block);
  }
}

/** The length of a message, from its prefix. */
export function lengthOf(prefix: Buffer, peer: string, maxBytes: number): number {
  if (prefix[0] !== 0) throw refused(peer, "its messages are compressed, which payload must not be");
  const length = prefix.readUInt32BE(1);
  if (length <= maxBytes) return length;
  throw new FedloomError(
    "F5007",
    `Cannot read a message of ${length} bytes from ${peer}: the limit is ${maxBytes} bytes`,
    { peer, length, limit: maxBytes },
  );
}

/**
 * Where the data begins in a message that is a PushChunk with nothing but data, as every client writes it.
 *
 * @returns undefined for any other message
 */
function startOfData(lead: Buffer, length: number): number | undefined {
  if (lead[0] !== 0x12) return undefined; // field 2 of PushBlobRequest: chunk
  const chunk = varint(lead, 1);
  if (chunk === undefined || chunk.value !== length - chunk.end) return undefined;
  if (lead[chunk.end] !== 0x0a) return undefined; // field 1 of PushChunk: data
  const data = varint(lead, chunk.end + 1);
  return data !== undefined && data.value > 0 && data.value === length - data.end ? data.end : undefined;
}

function varint(bytes: Buffer, at: number): { readonly value: number; readonly end: number } | undefined {
  let value = 0;
  for (let i = 0; i < 5 && at + i < bytes.length; i++) {
    const byte = bytes[at + i]!;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return { value, end: at + i + 1 };
  }
  return undefined;
}

function parse(bytes: Buffer, peer: string): PushBlobRequest {
  try {
    return fromBinary(PushBlobRequestSchema, bytes);
  } catch (cause) {
    throw refused(peer, "its bytes are no message of an upload", cause);
  }
}

export function refused(peer: string, why: string, cause?: unknown): FedloomError {
  return new FedloomError("F5005", `Cannot serve ${peer}: ${why}`, { peer }, { cause });
}

export function cutOff(peer: string): FedloomError {
  return refused(peer, "its stream ended in the middle of a message");
}

/** A stream's bytes, so many as are asked for, at the speed of whoever asks. */
export class ByteSource {
  readonly #stream: Readable;
  /** Came and was not asked for yet. */
  #left: Buffer = Buffer.alloc(0);
  #target: Uint8Array | undefined;
  #filled = 0;
  #settle: ((filled: number) => void) | undefined;
  #ended = false;

  constructor(stream: Readable) {
    this.#stream = stream;
    stream.on("data", (piece: Buffer) => this.#take(piece));
    stream.pause();
    const end = (): void => {
      this.#ended = true;
      this.#done();
    };
    stream.once("end", end).once("close", end);
  }

  /** Fills `target`. @returns bytes filled, fewer where the stream ended */
  fill(target: Uint8Array): Promise<number> {
    const left = this.#left;
    const ready = left.copy(target);
    this.#left = left.subarray(ready);
    if (ready === target.length || this.#ended) return Promise.resolve(ready);
    this.#target = target;
    this.#filled = ready;
    return new Promise((resolve) => {
      this.#settle = resolve;
      this.#stream.resume();
    });
  }

  /** What still comes is dropped, so that the connection's window does not fill. */
  drop(): void {
    this.#stream.removeAllListeners("data");
    this.#stream.resume();
  }

  #take(piece: Buffer): void {
    const target = this.#target;
    if (target === undefined) {
      this.#left = Buffer.concat([this.#left, piece]);
      return;
    }
    const taken = piece.copy(target, this.#filled);
    this.#filled += taken;
    if (this.#filled < target.length) return;
    this.#left = piece.subarray(taken);
    this.#stream.pause();
    this.#done();
  }

  #done(): void {
    const settle = this.#settle;
    this.#target = undefined;
    this.#settle = undefined;
    settle?.(this.#filled);
  }
}
