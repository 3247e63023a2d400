import http2 from "node:http2";
import { create } from "@bufbuild/protobuf";
import { credentials, Server, ServerCredentials } from "@grpc/grpc-js";
import { afterEach, expect, test } from "vitest";
import { FedloomError } from "../../base/errors.ts";
import { bindWide, CHUNK_BYTES, SERVER_OPTIONS } from "../../proto/channel.ts";
import type { Fleet } from "../../proto/fleet.ts";
import {
  ConnectRequestSchema,
  ConnectResponseSchema,
  FetchBlobRequestSchema,
  FetchBlobResponseSchema,
  PushBlobRequestSchema,
  PushBlobResponseSchema,
  ReportFailureRequestSchema,
  ReportFailureResponseSchema,
  StatBlobRequestSchema,
  StatBlobResponseSchema,
  SubmitResultResponseSchema,
} from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import { addFleet, connectFleet } from "../../proto/service.ts";
import { MessageQueue } from "../../proto/streams.ts";
import { checkVersion, ownVersion } from "../../proto/version.ts";

const never = new AbortController().signal;
const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** A fleet that does the least that shows each kind of call; tests replace what they look at. */
const plain: Fleet = {
  async *connect(requests) {
    for await (const { message } of requests) {
      if (message.case === "heartbeat") {
        const taskId = String(message.value.sequence);
        yield create(ConnectResponseSchema, { message: { case: "cancel", value: { taskId } } });
      }
    }
  },
  async *fetchBlob({ offset }) {
    for (let i = 0; i < 3; i++) {
      yield create(FetchBlobResponseSchema, {
        offset: offset + BigInt(i),
        data: new Uint8Array(CHUNK_BYTES).fill(i),
      });
    }
  },
  statBlob: async () => create(StatBlobResponseSchema, { held: 7n }),
  async pushBlob(requests) {
    let size = 0n;
    for await (const { message } of requests) {
      if (message.case === "chunk") size += BigInt(message.value.data.length);
    }
    return create(PushBlobResponseSchema, { size });
  },
  submitResult: async () => create(SubmitResultResponseSchema, {}),
  reportFailure: async () => create(ReportFailureResponseSchema, {}),
};

async function serve(parts: Partial<Fleet>) {
  const server = new Server(SERVER_OPTIONS);
  const errors: unknown[] = [];
  const takeStream = addFleet(
    server,
    () => ({ ...plain, ...parts }),
    (error) => errors.push(error),
  );
  const port = await bindWide(server, "127.0.0.1:0", ServerCredentials.createInsecure(), takeStream);
  const client = connectFleet(`127.0.0.1:${port}`, credentials.createInsecure());
  closers.push(() => {
    client.close();
    server.forceShutdown();
  });
  return { client, port, errors };
}

test("a refusal crosses the wire with its code and its words", async () => {
  const refusal = new FedloomError("F5008", 'Cannot read blob "aa": it is not of a task of client "ü7"');
  const { client, errors } = await serve({ statBlob: () => Promise.reject(refusal) });
  const call = client.statBlob(create(StatBlobRequestSchema, {}), never);
  await expect(call).rejects.toMatchObject({ code: "F5008", message: refusal.message });
  expect(errors).toEqual([refusal]);
});

test("an error that is not a refusal reaches the peer without its words", async () => {
  const { client } = await serve({ reportFailure: () => Promise.reject(new Error("secret path")) });
  const call = client.reportFailure(create(ReportFailureRequestSchema, {}), never);
  await expect(call).rejects.toMatchObject({ code: "F5003", message: expect.not.stringContaining("secret") });
});

test("an address nobody listens on is unreachable", async () => {
  const client = connectFleet("127.0.0.1:1", credentials.createInsecure());
  closers.push(() => client.close());
  const call = client.statBlob(create(StatBlobRequestSchema, {}), never);
  await expect(call).rejects.toMatchObject({ code: "F5001" });
});

test("a stream of chunks arrives whole and in order", async () => {
  const { client } = await serve({});
  const seen: number[] = [];
  for await (const { data } of client.fetchBlob(create(FetchBlobRequestSchema, { offset: 5n }), never)) {
    seen.push(data[0]!, data.length);
  }
  expect(seen).toEqual([0, CHUNK_BYTES, 1, CHUNK_BYTES, 2, CHUNK_BYTES]);
});

test("a blob of no bytes, and one whose reading fails in the middle, end with their status", async () => {
  const refusal = new FedloomError("F4005", "Cannot read blob aa: it is not there");
  const { client } = await serve({
    async *fetchBlob({ offset }) {
      if (offset === 0n) return;
      yield create(FetchBlobResponseSchema, { offset, data: new Uint8Array(100) });
      throw refusal;
    },
  });
  const read = async (offset: bigint): Promise<number> => {
    let bytes = 0;
    const request = create(FetchBlobRequestSchema, { offset });
    for await (const { data } of client.fetchBlob(request, never)) bytes += data.length;
    return bytes;
  };
  expect(await read(0n)).toBe(0);
  await expect(read(1n)).rejects.toMatchObject({ code: "F4005", message: refusal.message });
});

test("an upload is answered after its last chunk", async () => {
  const { client } = await serve({});
  async function* chunks() {
    for (let i = 0; i < 5; i++) {
      yield create(PushBlobRequestSchema, {
        message: { case: "chunk", value: { data: new Uint8Array(CHUNK_BYTES) } },
      });
    }
  }
  expect((await client.pushBlob(chunks(), never)).size).toBe(BigInt(5 * CHUNK_BYTES));
});

test("an upload refused in the middle throws the refusal, not a broken pipe", async () => {
  const { client } = await serve({
    async pushBlob(requests) {
      for await (const _ of requests) throw new FedloomError("F5007", "Cannot accept 5 MiB");
      throw new Error("unreachable");
    },
  });
  let sent = 0;
  async function* chunks() {
    for (; sent < 200; sent++) {
      yield create(PushBlobRequestSchema, {
        message: { case: "chunk", value: { data: new Uint8Array(CHUNK_BYTES) } },
      });
    }
  }
  await expect(client.pushBlob(chunks(), never)).rejects.toMatchObject({ code: "F5007" });
  expect(sent).toBeLessThan(200);
});

test("the standing connection carries messages both ways and ends when the client ends it", async () => {
  const { client } = await serve({});
  const requests = new MessageQueue<ReturnType<typeof beat>>();
  const beat = (sequence: bigint) =>
    create(ConnectRequestSchema, { message: { case: "heartbeat", value: { sequence } } });
  requests.push(beat(1n));
  const seen: string[] = [];
  for await (const { message } of client.connect(requests, never)) {
    if (message.case === "cancel") seen.push(message.value.taskId);
    if (seen.length === 1) requests.push(beat(2n));
    else requests.end();
  }
  expect(seen).toEqual(["1", "2"]);
});

test("a connection that the coordinator refuses ends with the refusal", async () => {
  const { client } = await serve({
    connect: () => ({
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.reject(new FedloomError("F5002", "Cannot talk to you")),
      }),
    }),
  });
  const requests = new MessageQueue<never>();
  const read = async () => {
    for await (const _ of client.connect(requests, never));
  };
  await expect(read()).rejects.toMatchObject({ code: "F5002" });
});

test("a client that takes no payload gets one chunk ahead, and its call ends when nobody wants it any more", async () => {
  const cut = new AbortController();
  let made = 0;
  async function* chunks() {
    for (;;) {
      made++;
      yield create(FetchBlobResponseSchema, { data: new Uint8Array(CHUNK_BYTES) });
    }
  }
  const { port, errors } = await serve({ fetchBlob: () => Object.assign(chunks(), { cut: cut.signal }) });
  const session = http2.connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: 1_000 } });
  closers.push(() => session.destroy());
  const stream = session.request({
    ":method": "POST",
    ":path": "/fedloom.v1.FleetService/FetchBlob",
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.on("error", () => undefined);
  const closed = new Promise<void>((resolve) => stream.once("close", () => resolve()));
  const first = new Promise<void>((resolve) => stream.once("readable", () => resolve()));
  stream.end(Buffer.alloc(5)); // an empty FetchBlobRequest
  await first; // and not a byte is read
  await new Promise<void>((resolve, reject) => session.ping((error) => (error ? reject(error) : resolve())));
  expect(made).toBe(1);
  const refusal = new FedloomError("F4026", "Cannot go on with a transfer");
  cut.abort(refusal);
  await closed;
  expect(stream.rstCode).toBe(http2.constants.NGHTTP2_CANCEL);
  expect(errors).toEqual([refusal]);
});

test("cancelling a call aborts the signal on the other side", async () => {
  const aborted = Promise.withResolvers<void>();
  const { client } = await serve({
    statBlob: (_request, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => {
          aborted.resolve();
          reject(signal.reason);
        });
        started.resolve();
      }),
  });
  const started = Promise.withResolvers<void>();
  const stop = new AbortController();
  const call = client.statBlob(create(StatBlobRequestSchema, {}), stop.signal);
  const failed = expect(call).rejects.toMatchObject({ code: "F5006" });
  await started.promise;
  stop.abort();
  await failed;
  await aborted.promise;
});

test("the server lets 8 MiB travel unacknowledged on a stream and 16 MiB on a connection", async () => {
  const { port } = await serve({});
  const session = http2.connect(`http://127.0.0.1:${port}`);
  await new Promise<void>((resolve) => session.once("remoteSettings", () => resolve()));
  // A ping is answered after the window update that the server sent before it.
  await new Promise<void>((resolve, reject) => session.ping((error) => (error ? reject(error) : resolve())));
  expect(session.remoteSettings.initialWindowSize).toBe(8 * 2 ** 20);
  expect(session.state.remoteWindowSize).toBe(16 * 2 ** 20);
  session.destroy();
});

test("a taken port is refused by name", async () => {
  const { port } = await serve({});
  const second = new Server();
  const bound = bindWide(second, `127.0.0.1:${port}`, ServerCredentials.createInsecure(), () => false);
  await expect(bound).rejects.toMatchObject({ code: "F5009", message: expect.stringContaining("in use") });
});

test("a peer of another protocol is told both versions and which side to upgrade", () => {
  const other = { ...ownVersion(), major: 2, software: "fedloom 9.0.0" };
  expect(() => checkVersion('client "c1"', other)).toThrow(
    /speaks protocol 1\.0, the other \(fedloom 9\.0\.0\) 2\.0; upgrade this side/,
  );
  expect(() => checkVersion('client "c1"', undefined)).toThrow(/upgrade client "c1"/);
  expect(() => checkVersion('client "c1"', ownVersion())).not.toThrow();
});
