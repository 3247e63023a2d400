/** Uploads are read as their bytes come: whatever the pieces, the messages are those that were written. */
import { Readable } from "node:stream";
import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type PushBlobRequest, PushBlobRequestSchema } from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import { BLOCK_BYTES, ByteSource, readPushes } from "../../proto/push-reader.ts";

const LIMIT = 2 ** 20;

function framed(bytes: Uint8Array, { flag = 0, length = bytes.length } = {}): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, bytes]);
}

function chunk(data: Uint8Array): PushBlobRequest {
  return create(PushBlobRequestSchema, { message: { case: "chunk", value: { data } } });
}

function header(taskId: string): PushBlobRequest {
  return create(PushBlobRequestSchema, { message: { case: "header", value: { taskId, clientId: "c1" } } });
}

const written = (message: PushBlobRequest): Buffer => framed(toBinary(PushBlobRequestSchema, message));

/** What is read, the data of consecutive blocks joined; and the sizes of the blocks. */
async function readAll(pieces: readonly Uint8Array[]) {
  const seen: (string | Buffer)[] = [];
  const blocks: number[] = [];
  const source = new ByteSource(Readable.from(pieces, { objectMode: false }));
  for await (const { message } of readPushes(source, "10.0.0.1:1", LIMIT)) {
    if (message.case === "header") seen.push(message.value.taskId);
    if (message.case !== "chunk") continue;
    const { data } = message.value;
    blocks.push(data.length);
    const before = seen.at(-1);
    if (before instanceof Buffer) seen[seen.length - 1] = Buffer.concat([before, data]);
    else seen.push(Buffer.from(data));
  }
  return { seen, blocks };
}

/** The bytes in pieces that end at the given places. */
function cutAt(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end));
}

test("headers and payload come out as they were written, however the bytes are cut", async () => {
  const messages = fc.array(
    fc.oneof(
      fc.string({ maxLength: 300 }),
      fc.uint8Array({ maxLength: 40 }),
      fc.integer({ min: 1, max: 3 * BLOCK_BYTES }).map((length) => new Uint8Array(length).fill(length)),
    ),
    { maxLength: 5 },
  );
  await fc.assert(
    fc.asyncProperty(messages, fc.array(fc.nat(), { maxLength: 12 }), async (given, places) => {
      const bytes = Buffer.concat(
        given.map((one) => written(typeof one === "string" ? header(one) : chunk(one))),
      );
      const { seen, blocks } = await readAll(cutAt(bytes, places));
      const payload = (all: readonly (string | Uint8Array)[]) =>
        all.map((one) => (typeof one === "string" ? `(${one})` : Buffer.from(one).toString("hex"))).join("");
      expect(payload(seen)).toBe(payload(given));
      expect(Math.max(0, ...blocks)).toBeLessThanOrEqual(BLOCK_BYTES);
    }),
    { numRuns: 60 },
  );
});

test("a chunk with what no client writes is read as any message", async () => {
  // Field 3 of PushChunk, which there is not, and the data in two fields, of which the last counts.
  const inner = Buffer.from([0x18, 0x01, 0x0a, 0x01, 7, 0x0a, 0x02, 8, 9]);
  const { seen } = await readAll([framed(Buffer.concat([Buffer.from([0x12, inner.length]), inner]))]);
  expect(seen).toEqual([Buffer.from([8, 9])]);
});

test.each<[string, Buffer, string, RegExp]>([
  ["a compressed message", framed(Buffer.from([1]), { flag: 1 }), "F5005", /compressed/],
  ["a message above the limit", framed(Buffer.alloc(1), { length: LIMIT + 1 }), "F5007", /1048577 bytes/],
  ["bytes that are no message", framed(Buffer.from([0xff, 0xff, 0xff])), "F5005", /no message/],
  ["a prefix that is cut off", Buffer.from([0, 0]), "F5005", /middle of a message/],
  ["a header that is cut off", written(header("task")).subarray(0, -1), "F5005", /middle of a message/],
  ["a chunk that is cut off", written(chunk(Buffer.alloc(500))).subarray(0, -1), "F5005", /middle of a/],
])("%s is refused by the peer's name", async (_what, bytes, code, words) => {
  await expect(readAll([bytes])).rejects.toMatchObject({ code, message: expect.stringMatching(words) });
  await expect(readAll([bytes])).rejects.toMatchObject({ message: expect.stringContaining("10.0.0.1:1") });
});

test("a block is there before its chunk is whole", async () => {
  const stream = new Readable({ read: () => undefined });
  const messages = readPushes(new ByteSource(stream), "10.0.0.1:1", LIMIT);
  const first = messages.next();
  const bytes = written(chunk(new Uint8Array(LIMIT - 100).fill(3)));
  stream.push(bytes.subarray(0, BLOCK_BYTES + 100));
  const { message } = (await first).value!;
  expect(message.case === "chunk" && message.value.data.length).toBe(BLOCK_BYTES);
  stream.destroy();
});
