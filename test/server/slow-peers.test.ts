/** Peers that take a byte now and then, or send one: they hold a bounded piece of memory, are named, and harm nobody. */
import { readdirSync } from "node:fs";
import http2 from "node:http2";
import { join as joinPath } from "node:path";
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import type { Adapter } from "../../adapters/adapter.ts";
import { float32, tensorSet } from "../../adapters/tensor.ts";
import { ManualClock } from "../../base/clock.ts";
import { CHUNK_BYTES } from "../../proto/channel.ts";
import {
  FetchBlobRequestSchema,
  PushBlobRequestSchema,
  type Task,
} from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import { BLOCK_BYTES } from "../../proto/push-reader.ts";
import { FLEET_METHODS } from "../../proto/service.ts";
import { overGrpc } from "./over-grpc.ts";
import {
  config,
  coordinatorIn,
  finished,
  firstAdapter,
  later,
  temporaryDirectory,
  until,
} from "./setting.ts";

const IDLE_MS = 60_000;
/** As many as a connection may have beside a standing one and a call. */
const STREAMS = 14;
const MIB = 2 ** 20;

/** Two tensors of 4 MiB: enough for several chunks. */
function wideAdapter(): Adapter {
  const { config: kind } = firstAdapter();
  const tensor = (name: string) =>
    [`base_model.model.layers.0.q_proj.${name}.weight`, new Float32Array(MIB).fill(0.5)] as const;
  const [nameA, a] = tensor("lora_A");
  const [nameB, b] = tensor("lora_B");
  return {
    config: { ...kind, targets: ["q_proj"] },
    tensors: tensorSet([
      [nameA, float32([2, MIB / 2], a)],
      [nameB, float32([MIB / 2, 2], b)],
    ]),
  };
}

/** A round of "good", who trains, and "slow", whose task is handed to the test; time stands still until it is told. */
async function round() {
  const directory = temporaryDirectory();
  const clock = new ManualClock();
  const model = { createAdapter: async () => wideAdapter() };
  const coordinator = await coordinatorIn(directory, { clock, model });
  const { edge, join } = await overGrpc(coordinator);
  const engine = await coordinator.submitRun({
    config: config({ rounds: 1, cohort: { perRound: 2, quorum: 1, idle: `${IDLE_MS / 1000}s` } }),
  });
  const offered = Promise.withResolvers<Task>();
  join("slow", {
    onTask: async (_client, task) => {
      offered.resolve(task);
      return true;
    },
  });
  join("good");
  const task = await offered.promise;
  const session = http2.connect(`http://${edge.address}`, { settings: { initialWindowSize: 1_000 } });
  session.on("error", () => undefined);
  later(() => session.destroy());
  /** A call whose bytes the test sends, and whose answers nobody reads but by a byte. */
  const call = (method: keyof typeof FLEET_METHODS) => {
    const stream = session.request({
      ":method": "POST",
      ":path": FLEET_METHODS[method].path,
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.on("error", () => undefined);
    const status = new Promise<unknown>((resolve) => {
      const look = (headers: http2.IncomingHttpHeaders): void => {
        if (headers["grpc-status"] !== undefined) resolve(headers["fedloom-code"]);
      };
      stream
        .on("response", look)
        .on("trailers", look)
        .once("close", () => resolve("closed"));
    });
    return { stream, status };
  };
  /** Everything sent so far was read by the other side. */
  const settled = (): Promise<void> =>
    new Promise((resolve, reject) => session.ping((error) => (error ? reject(error) : resolve())));
  const end = async (): Promise<void> => {
    clock.advance(IDLE_MS);
    await finished(engine);
  };
  await until(engine, (run) => run.round?.members.get("good")?.status === "received");
  return { directory, coordinator, engine, task, call, settled, end };
}

function framed<Schema extends DescMessage>(schema: Schema, message: MessageInitShape<Schema>): Buffer {
  const bytes = toBinary(schema, create(schema, message));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

const heldBytes = (): number => process.memoryUsage().arrayBuffers;

test("a client that reads its blob by the byte holds no copy of it, is named, and its calls end with its task", async () => {
  const { engine, task, call, settled, end } = await round();
  const { sha256, size } = task.adapterModel!;
  expect(Number(size)).toBeGreaterThan(8 * MIB);
  const request = framed(FetchBlobRequestSchema, { clientId: "slow", sha256 });
  const before = heldBytes();
  const calls = Array.from({ length: STREAMS }, () => call("fetchBlob"));
  for (const { stream } of calls) {
    stream.end(request);
    await new Promise<void>((resolve) => stream.once("readable", () => resolve()));
    expect(stream.read(1)).toHaveLength(1);
  }
  await settled();
  // All streams are fed from one copy of the blob, which was there before them.
  expect(heldBytes() - before).toBeLessThan(STREAMS * (CHUNK_BYTES / 4));

  await end();
  for (const { stream, status } of calls) {
    stream.resume();
    expect(await status).toBe("closed");
    expect(stream.rstCode).toBe(http2.constants.NGHTTP2_CANCEL);
  }
  expect(engine.rounds[0]).toMatchObject({ ok: 1, failed: 1, failures: [{ client: "slow", code: "F4009" }] });
  expect(engine.rounds[0]!.failures[0]!.message).toBe("no progress for 60 s (cohort.idle)");
});

test("a client that uploads by the byte holds a block of each upload, is named, and leaves nothing on the disk", async () => {
  const { directory, coordinator, engine, task, call, settled, end } = await round();
  const chunk = { message: { case: "chunk", value: { data: new Uint8Array(CHUNK_BYTES) } } } as const;
  const bytes = framed(PushBlobRequestSchema, chunk);
  const before = heldBytes();
  const uploads = Array.from({ length: STREAMS }, (_, i) => {
    const sha256 = i.toString(16).padStart(64, "0");
    const upload = call("pushBlob");
    const blob = { sha256, size: BigInt(4 * MIB) };
    const header = { blob, offset: 0n, clientId: "slow", taskId: task.taskId };
    upload.stream.write(framed(PushBlobRequestSchema, { message: { case: "header", value: header } }));
    return { ...upload, sha256 };
  });
  // A chunk is announced; of it comes a little more than a block, and then a byte now and then.
  for (const { stream } of uploads) stream.write(bytes.subarray(0, BLOCK_BYTES + 100));
  for (let i = 0; i < 5; i++) {
    const at = BLOCK_BYTES + 100 + i;
    for (const { stream } of uploads) stream.write(bytes.subarray(at, at + 1));
    await settled();
  }
  // What came is on disk, not in memory.
  const { blobs } = coordinator.parts;
  const held = () => Promise.all(uploads.map(({ sha256 }) => blobs.held("slow", sha256)));
  await expect.poll(held).toEqual(uploads.map(() => BLOCK_BYTES));
  expect(heldBytes() - before).toBeLessThan(STREAMS * 2 * BLOCK_BYTES);

  await end();
  for (const { status } of uploads) expect(await status).toBe("F4026");
  expect(engine.rounds[0]).toMatchObject({ ok: 1, failed: 1, failures: [{ client: "slow", code: "F4009" }] });
  await expect.poll(() => readdirSync(joinPath(directory, "blobs", "partial"))).toEqual([]);
});

test("a client that sends by the byte but sends is not given up before the round's deadline", async () => {
  const { coordinator, engine, task, call, settled } = await round();
  const upload = call("pushBlob");
  const blob = { sha256: "a".repeat(64), size: 8n };
  const header = { blob, offset: 0n, clientId: "slow", taskId: task.taskId };
  upload.stream.write(framed(PushBlobRequestSchema, { message: { case: "header", value: header } }));
  const clock = coordinator.parts.clock as ManualClock;
  for (let i = 1; i <= 4; i++) {
    clock.advance(IDLE_MS - 1);
    const chunk = { message: { case: "chunk", value: { data: new Uint8Array([i]) } } } as const;
    upload.stream.write(framed(PushBlobRequestSchema, chunk));
    await settled();
    await expect.poll(() => coordinator.parts.blobs.held("slow", blob.sha256)).toBe(i);
  }
  expect(engine.run.round!.members.get("slow")!.status).toBe("waiting");
  clock.advance(30 * 60_000);
  await finished(engine);
  expect(engine.rounds[0]!.failures).toMatchObject([{ client: "slow" }]);
  expect(await upload.status).toBe("F4026");
});
