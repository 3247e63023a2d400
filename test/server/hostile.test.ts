import { once } from "node:events";
import http2 from "node:http2";
import { createConnection } from "node:net";
import { gzipSync } from "node:zlib";
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import type { Adapter } from "../../adapters/adapter.ts";
import { float32, type Tensor, tensorSet } from "../../adapters/tensor.ts";
import {
  type ConnectRequest,
  ConnectRequestSchema,
  ConnectResponseSchema,
  type FetchBlobRequest,
  FetchBlobRequestSchema,
  ReportFailureRequestSchema,
  type SubmitResultRequest,
  SubmitResultRequestSchema,
  type Task,
  Verdict,
} from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import { MessageQueue } from "../../proto/streams.ts";
import { ownVersion } from "../../proto/version.ts";
import { serveGrpc } from "../../server/grpc/server.ts";
import { MAX_UPLOADS, MAX_WAITING_MESSAGES, UPLOADS_FACTOR } from "../../server/limits.ts";
import { readAdapter } from "../../server/work/aggregate.ts";
import { type FakeClient, type FakeOptions, pieces } from "./fake-client.ts";
import { overGrpc } from "./over-grpc.ts";
import {
  config,
  coordinatorIn,
  finished,
  firstAdapter,
  later,
  meanOf,
  temporaryDirectory,
} from "./setting.ts";

async function serve(over: Record<string, unknown> = {}) {
  const coordinator = await coordinatorIn(temporaryDirectory());
  const { edge, join } = await overGrpc(coordinator);
  const engine = await coordinator.submitRun({
    config: config({ rounds: 1, cohort: { perRound: 2, quorum: 1 }, ...over }),
  });
  return { coordinator, engine, join, address: edge.address };
}

/** One honest client that adds 1, and one that does what it should not: the round is the honest one's alone. */
async function against(options: FakeOptions) {
  const { coordinator, engine, join } = await serve();
  const bad = join("bad", options);
  join("good", { adds: 1 });
  await finished(engine);
  expect(engine.run.stopped).toBeUndefined();
  const adapter = await readAdapter(coordinator.parts.blobs, engine.run.global!, "test");
  expect(meanOf(adapter)).toBeCloseTo(meanOf(firstAdapter()) + 1, 6);
  return { bad, failures: engine.rounds[0]!.failures };
}

function withTensor(change: (name: string, tensor: Tensor) => readonly [string, Tensor]) {
  return (adapter: Adapter): Adapter => ({
    ...adapter,
    tensors: tensorSet([...adapter.tensors].map(([name, tensor]) => change(name, tensor))),
  });
}

const Q_A = "base_model.model.layers.0.q_proj.lora_A.weight";

test.each<[string, FakeOptions, string, RegExp]>([
  [
    "a value that is not finite",
    {
      bend: withTensor((name, t) => [name, name === Q_A ? float32(t.shape, [1, 2, Number.NaN, 4, 5, 6]) : t]),
    },
    "F3102",
    /client "bad": tensor ".*q_proj\.lora_A\.weight" must be finite, got NaN at position 2/,
  ],
  [
    "a tensor of another shape",
    { bend: withTensor((name, t) => [name, name === Q_A ? float32([2, 4], new Array(8).fill(1)) : t]) },
    "F3101",
    /must have shape \[2, 3\], got \[2, 4\]/,
  ],
  [
    "a shape that would broadcast",
    { bend: withTensor((name, t) => [name, name === Q_A ? float32([2, 1], [1, 1]) : t]) },
    "F3101",
    /must have shape \[2, 3\], got \[2, 1\]/,
  ],
  [
    "a tensor of another name",
    { bend: withTensor((name, t) => [name === Q_A ? name.replace("q_proj", "k_proj") : name, t]) },
    "F3101",
    /is not in the global adapter/,
  ],
  ["another rank", { bend: () => firstAdapter(3) }, "F3008", /its rank must be 2, got 3/],
  [
    "another base model",
    { bend: (adapter) => ({ ...adapter, config: { ...adapter.config, base: "c".repeat(64) } }) },
    "F3008",
    /its base model must be/,
  ],
  [
    "zero examples",
    { claim: (result) => ({ ...result, examples: 0n }) },
    "F3108",
    /client "bad".*0 examples/,
  ],
  [
    "more examples than there can be",
    { claim: (result) => ({ ...result, examples: 2n ** 60n }) },
    "F5005",
    /"examples" is out of range/,
  ],
  [
    "a metric that is not finite",
    { claim: (result) => ({ ...result, metrics: { loss: Number.NaN } }) },
    "F5005",
    /metric "loss" must be finite, got NaN/,
  ],
  [
    "an update of another adapter",
    { claim: (result) => ({ ...result, trainedFrom: "d".repeat(64) }) },
    "F4012",
    /client "bad" in round 1: it must be trained from adapter/,
  ],
  [
    "a blob's name that is none",
    { claim: (result) => ({ ...result, adapterModel: { ...result.adapterModel!, sha256: "../../etc" } }) },
    "F5005",
    /64 lower-case hexadecimal digits/,
  ],
])("%s is refused by name, and the others go on", async (_what, options, code, message) => {
  const { bad, failures } = await against(options);
  expect(bad.verdicts.at(-1)).toMatchObject({ verdict: Verdict.REFUSED, code });
  expect(bad.verdicts.at(-1)!.reason).toMatch(message);
  expect(failures).toMatchObject([{ client: "bad", phase: "submit", code }]);
});

/** Does `act` in place of the client's work, and then fails the task so that the round can go on. */
function instead(
  act: (client: FakeClient, task: Task) => Promise<unknown>,
  seen: { error?: unknown },
): FakeOptions {
  return {
    onTask: async (client, task) => {
      seen.error = await act(client, task).then(
        () => undefined,
        (error: unknown) => error,
      );
      const failure = {
        clientId: client.id,
        taskId: task.taskId,
        phase: "train",
        code: "F5101",
        message: "gave up",
      };
      await client.fleet.reportFailure(create(ReportFailureRequestSchema, failure), client.signal);
      return true;
    },
  };
}

const other = "e".repeat(64);

test.each<[string, (client: FakeClient, task: Task) => Promise<unknown>, string]>([
  [
    "an upload whose bytes are not the ones announced",
    (client, task) => client.push(task, Buffer.from("bytes"), { sha256: other }),
    "F5010",
  ],
  [
    "an upload far above what was handed out",
    (client, task) => client.push(task, Buffer.from("bytes"), { size: 10n ** 12n }),
    "F5007",
  ],
  [
    "more uploads than any task needs",
    async (client, task) => {
      for (let i = 0; i <= MAX_UPLOADS; i++) await client.push(task, Buffer.from(`junk ${i}`));
    },
    "F5007",
  ],
  [
    "uploads of far more bytes in all than were handed out",
    async (client, task) => {
      for (let i = 0; i <= UPLOADS_FACTOR; i++) await client.push(task, new Uint8Array(2 ** 20).fill(i));
    },
    "F5007",
  ],
  [
    "an upload for another client's task",
    (client, task) =>
      client.push({ ...task, taskId: task.taskId.replace("bad", "good") }, Buffer.from("bytes")),
    "F4011",
  ],
  [
    "an upload without a header",
    async (client, task) => {
      async function* headless() {
        let first = true;
        for await (const message of pieces(
          client.id,
          task.taskId,
          { sha256: other, size: 5n },
          0,
          Buffer.from("bytes"),
        )) {
          if (!first) yield message;
          first = false;
        }
      }
      await client.fleet.pushBlob(headless(), client.signal);
    },
    "F5005",
  ],
  [
    "a blob that is not the client's",
    (client) => read(client, { clientId: client.id, sha256: other }),
    "F5008",
  ],
  [
    "a blob in another client's name that has no task",
    (client, task) => read(client, { clientId: "nobody", sha256: task.adapterModel!.sha256 }),
    "F5008",
  ],
  ["a client id that is none", (client) => read(client, { clientId: "../x", sha256: other }), "F5005"],
])("%s is refused", async (_what, act, code) => {
  const seen: { error?: unknown } = {};
  const { failures } = await against(instead(act, seen));
  expect(seen.error).toMatchObject({ code });
  expect(failures).toMatchObject([{ client: "bad", code: "F5101" }]);
});

async function read(client: FakeClient, request: { clientId: string; sha256: string }): Promise<void> {
  const message: FetchBlobRequest = create(FetchBlobRequestSchema, request);
  for await (const _ of client.fleet.fetchBlob(message, client.signal));
}

test("a hostile safetensors file is refused by name, and the others go on", async () => {
  // Announces a header of 2^60 bytes.
  const bomb = Buffer.alloc(64);
  bomb.writeBigUInt64LE(2n ** 60n);
  const { bad, failures } = await against({
    onTask: async (client, task) => {
      const honest = await client.train(task);
      const adapterModel = await client.push(task, bomb);
      client.verdicts.push(await client.fleet.submitResult({ ...honest, adapterModel }, client.signal));
      return true;
    },
  });
  expect(bad.verdicts).toMatchObject([{ verdict: Verdict.REFUSED, code: "F3002" }]);
  expect(failures).toMatchObject([{ client: "bad", phase: "submit", code: "F3002" }]);
});

test("a result offered twice counts once; another one for the same task is refused", async () => {
  const { engine, join } = await serve({ cohort: { perRound: 2, quorum: 2 } });
  const submitted = Promise.withResolvers<SubmitResultRequest>();
  const twice = join("twice", {
    claim: (result) => {
      submitted.resolve(result);
      return result;
    },
  });
  const hold = Promise.withResolvers<boolean>();
  join("slow", { onTask: () => hold.promise });
  const result = await submitted.promise;
  const offer = (changed: Partial<SubmitResultRequest>) =>
    twice.fleet.submitResult(create(SubmitResultRequestSchema, { ...result, ...changed }), twice.signal);
  // The first offer is on its way; whichever of the two equal ones comes second is a repeat.
  await offer({});
  expect(await offer({})).toMatchObject({ verdict: Verdict.REPEATED });
  const changed = { ...result.adapterModel!, sha256: other };
  expect(await offer({ adapterModel: changed })).toMatchObject({ verdict: Verdict.REFUSED, code: "F4013" });
  expect(await offer({ round: 7 })).toMatchObject({ verdict: Verdict.REFUSED, code: "F5005" });
  const later7 = { taskId: result.taskId.replace("/1/", "/7/"), round: 7 };
  expect(await offer(later7)).toMatchObject({ verdict: Verdict.LATE, code: "F4011" });
  const theirs = { taskId: result.taskId.replace("twice", "slow") };
  expect(await offer(theirs)).toMatchObject({ verdict: Verdict.REFUSED, code: "F5008" });
  hold.resolve(false);
  await finished(engine);
  expect(engine.rounds[0]).toMatchObject({ ok: 2, failed: 0 });
});

test("a result whose blobs were never uploaded is asked for again, not refused for good", async () => {
  const { join } = await serve();
  const seen = Promise.withResolvers<unknown>();
  join("c1", {
    onTask: async (client, task) => {
      const result = await client.train(task);
      const adapterModel = { ...result.adapterModel!, sha256: other };
      await client.fleet.submitResult({ ...result, adapterModel }, client.signal).catch(seen.resolve);
      return true;
    },
  });
  join("c2");
  expect(await seen.promise).toMatchObject({ code: "F5011" });
});

test("the newer connection of a client ends the older", async () => {
  const { join } = await serve();
  const older = join("c1", { sessionId: "old" });
  await older.welcome;
  const newer = join("c1", { sessionId: "new" });
  await newer.welcome;
  await expect(older.ended).rejects.toMatchObject({ code: "F5004" });
});

test("bytes that are no HTTP/2 harm nobody", async () => {
  const { engine, join, address } = await serve();
  const port = Number(address.split(":")[1]);
  for (const noise of [
    "GET / HTTP/1.1\r\n\r\n",
    "\0".repeat(10_000),
    `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${"\xff".repeat(500)}`,
  ]) {
    await new Promise<void>((resolve) => {
      const socket = createConnection(port, "127.0.0.1");
      socket.on("error", () => undefined).on("close", () => resolve());
      socket.write(Buffer.from(noise, "latin1"), () => socket.destroy());
    });
  }
  join("c1");
  join("c2");
  await finished(engine);
  expect(engine.run.phase).toBe("finished");
});

test("thousands of streams that are opened and reset at once, and headers without end, harm nobody", async () => {
  const { engine, join, address } = await serve();
  const headers = { ":method": "POST", ":path": "/fedloom.v1.FleetService/Connect", te: "trailers" };
  const attack = async (act: (session: http2.ClientHttp2Session) => void): Promise<void> => {
    const session = http2.connect(`http://${address}`).on("error", () => undefined);
    await once(session, "connect");
    act(session);
    // Whatever the server makes of it, it has read it when it answers this, or has closed the connection.
    await new Promise<void>((resolve) => {
      session.once("close", () => resolve());
      if (session.destroyed || !session.ping(() => resolve())) resolve();
    });
    session.destroy();
  };
  await attack((session) => {
    for (let i = 0; i < 5_000 && !session.destroyed; i++) {
      const stream = session.request({ ...headers, "content-type": "application/grpc" });
      stream.on("error", () => undefined).close(http2.constants.NGHTTP2_CANCEL);
    }
  });
  await attack((session) => {
    const stream = session.request({ ...headers, "x-endless": "a".repeat(200_000) });
    stream.on("error", () => undefined).resume();
  });
  join("c1");
  join("c2");
  await finished(engine);
  expect(engine.rounds[0]).toMatchObject({ ok: 2, failed: 0 });
});

test("messages that unpack to a thousand times their size harm nobody", async () => {
  const { engine, join, address } = await serve();
  const packed = gzipSync(Buffer.alloc(128 * 2 ** 20)); // 127 KiB
  const before = process.memoryUsage.rss();
  const session = http2.connect(`http://${address}`).on("error", () => undefined);
  later(() => session.destroy());
  const statusOf = (path: string, message: Buffer, headers: Record<string, string>): Promise<unknown> =>
    new Promise((resolve) => {
      const stream = session.request({
        ":method": "POST",
        ":path": `/fedloom.v1.FleetService/${path}`,
        "content-type": "application/grpc",
        te: "trailers",
        ...headers,
      });
      const look = (found: http2.IncomingHttpHeaders): void => {
        if (found["grpc-status"] !== undefined) resolve(Number(found["grpc-status"]));
      };
      stream
        .on("response", look)
        .on("trailers", look)
        .on("error", () => undefined);
      stream.resume();
      stream.end(message);
    });
  const head = Buffer.alloc(5);
  head.writeUInt8(1);
  head.writeUInt32BE(packed.length, 1);
  const bomb = Buffer.concat([head, packed]);
  for (const method of ["SubmitResult", "StatBlob", "FetchBlob", "PushBlob"])
    expect(await statusOf(method, bomb, { "grpc-encoding": "gzip" })).toBeGreaterThan(0);
  expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 2 ** 20);
  join("c1");
  join("c2");
  await finished(engine);
  expect(engine.rounds[0]).toMatchObject({ ok: 2, failed: 0 });
});

test("a client that does not read what it is sent is given up by name, and holds no more than a few messages", async () => {
  const { coordinator } = await serve();
  const { presence } = coordinator.parts;
  const requests = new MessageQueue<ConnectRequest>();
  const hello = { version: ownVersion(), clientId: "deaf", sessionId: "s", inventory: {} };
  requests.push(create(ConnectRequestSchema, { message: { case: "hello", value: hello } }));
  const connection = coordinator
    .fleet({ address: "10.0.0.1:1" })
    .connect(requests, new AbortController().signal)
    [Symbol.asyncIterator]();
  await connection.next(); // Welcome, and nothing more is read
  const cancel = { taskId: "t", code: "F5006", reason: "" };
  const message = create(ConnectResponseSchema, { message: { case: "cancel", value: cancel } });
  for (let i = 0; i < 2 * MAX_WAITING_MESSAGES; i++) presence.session("deaf")?.send(message);
  let held = 0;
  const drain = async (): Promise<void> => {
    while ((await connection.next()).done !== true) held++;
  };
  await expect(drain()).rejects.toMatchObject({
    code: "F5007",
    message: 'Cannot keep the connection of client "deaf": it does not read',
  });
  expect(held).toBeLessThanOrEqual(MAX_WAITING_MESSAGES);
  expect(presence.session("deaf")).toBeUndefined();
});

test("off loopback a coordinator without TLS does not open, and a taken port is named", async () => {
  const { coordinator, address } = await serve();
  await expect(serveGrpc(coordinator, "0.0.0.0:0")).rejects.toMatchObject({ code: "F4014" });
  await expect(serveGrpc(coordinator, address)).rejects.toMatchObject({ code: "F5009" });
  await expect(serveGrpc(coordinator, "7443")).rejects.toMatchObject({ code: "F5009" });
});
