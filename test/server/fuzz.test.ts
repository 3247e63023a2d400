/** Anything a peer can say: refused in words or answered, never an error of ours, and the coordinator goes on. `FUZZ_RUNS` for long runs. */
import http2 from "node:http2";
import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { ManualClock, systemClock } from "../../base/clock.ts";
import { FedloomError } from "../../base/errors.ts";
import { silentLog } from "../../base/log.ts";
import type { Fleet } from "../../proto/fleet.ts";
import {
  type ConnectRequest,
  ConnectRequestSchema,
  EnrollRequestSchema,
  FetchBlobRequestSchema,
  NewKeySchema,
  type PushBlobRequest,
  PushBlobRequestSchema,
  RenewRequestSchema,
  ReportFailureRequestSchema,
  StatBlobRequestSchema,
  SubmitResultRequestSchema,
  type Task,
} from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import { parseJoinToken } from "../../proto/join-token.ts";
import { newKey, requestOf } from "../../proto/key-proof.ts";
import { FLEET_METHODS } from "../../proto/service.ts";
import type { Coordinator } from "../../server/coordinator.ts";
import { serveGrpc } from "../../server/grpc/server.ts";
import { openAuthority } from "../../server/identity/authority.ts";
import { Gate } from "../../server/identity/gate.ts";
import { openSqliteStore } from "../../server/journal/sqlite.ts";
import { formatTaskId, parseTaskId } from "../../server/task-id.ts";
import { FakeClient } from "./fake-client.ts";
import { config, coordinatorIn, later, temporaryDirectory } from "./setting.ts";

const RUNS = Number(process.env.FUZZ_RUNS ?? 150);
const never = new AbortController().signal;

/** A run whose only client, c1, has its task and sits on it: what is fuzzed meets open state. */
async function openRound(): Promise<{ coordinator: Coordinator; fleet: Fleet; task: Task }> {
  const coordinator = await coordinatorIn(undefined, { clock: new ManualClock() });
  const fleet = coordinator.fleet({ address: "10.0.0.1:1" });
  const offered = Promise.withResolvers<Task>();
  const client = new FakeClient(fleet, "c1", {
    onTask: async (_client, task) => {
      offered.resolve(task);
      return true;
    },
  });
  client.ended.catch(() => undefined);
  await coordinator.submitRun({ config: config({ rounds: 1, cohort: { perRound: 1 } }) });
  return { coordinator, fleet, task: await offered.promise };
}

let open: Awaited<ReturnType<typeof openRound>>;
beforeAll(async () => {
  open = await openRound();
  return () => open.coordinator.close();
});

const word = fc.oneof(
  fc.string(),
  fc.constantFrom("c1", "", "../x", "constructor", "__proto__", "a".repeat(5_000)),
);
const count = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const hash = fc.oneof(word, fc.constantFrom("0".repeat(64), "f".repeat(64)));
const blob = fc.option(fc.record({ sha256: hash, size: count }), { nil: undefined });
const counts = fc.dictionary(word, count, { maxKeys: 80 });
const numbers = fc.dictionary(word, fc.double(), { maxKeys: 80 });
const bytes = fc.uint8Array({ maxLength: 3_000 });
const taskId = fc.oneof(word, fc.constant("TASK"), fc.constantFrom("a/1/train/c1", "a/0/train/c1", "////"));

/** Refusals are the answer; anything else that is thrown is a hole. */
async function answered(act: () => Promise<unknown>): Promise<void> {
  try {
    await act();
  } catch (error) {
    if (!(error instanceof FedloomError)) throw error;
    expect(error.message.length).toBeLessThan(2_000);
    expect(error.status).not.toBe("internal");
  }
}

async function drain(source: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of source);
}

test("results", async () => {
  const { fleet, task } = open;
  const result = fc.record({
    clientId: fc.oneof(word, fc.constant("c1")),
    taskId,
    runId: fc.oneof(word, fc.constant(task.runId)),
    round: fc.oneof(fc.nat(), fc.constant(1)),
    adapterConfig: blob,
    adapterModel: blob,
    extras: fc.dictionary(word, fc.record({ sha256: hash, size: count }), { maxKeys: 80 }),
    examples: count,
    steps: count,
    tokens: count,
    touched: counts,
    metrics: numbers,
    trainedFrom: hash,
    durationMs: count,
    dataFingerprint: hash,
  });
  await fc.assert(
    fc.asyncProperty(result, (given) => {
      const named = given.taskId === "TASK" ? { ...given, taskId: `${given.runId}/1/train/c2` } : given;
      return answered(() => fleet.submitResult(create(SubmitResultRequestSchema, strip(named)), never));
    }),
    { numRuns: RUNS },
  );
});

/** Members that are undefined are not set. */
function strip<T extends object>(given: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  // as: what is left has no undefined member.
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as never;
}

test("uploads", async () => {
  const { fleet, task } = open;
  const header = fc.record({ blob, offset: count, clientId: fc.oneof(word, fc.constant("c1")), taskId });
  const message = fc.oneof(
    header.map((value) => {
      const named = value.taskId === "TASK" ? { ...value, taskId: task.taskId } : value;
      return create(PushBlobRequestSchema, { message: { case: "header", value: strip(named) } } as never);
    }),
    bytes.map((data) => create(PushBlobRequestSchema, { message: { case: "chunk", value: { data } } })),
    fc.constant(create(PushBlobRequestSchema, {})),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(message, { maxLength: 4 }), (messages) =>
      answered(() => fleet.pushBlob(of<PushBlobRequest>(messages), never)),
    ),
    { numRuns: RUNS },
  );
});

async function* of<T>(messages: readonly T[]): AsyncGenerator<T> {
  yield* messages;
}

test("connections", async () => {
  const { fleet } = open;
  const hello = fc.record({
    version: fc.option(fc.record({ major: fc.nat(3), minor: fc.nat(), software: word }), { nil: undefined }),
    clientId: fc.oneof(word, fc.constant("other")),
    sessionId: word,
    inventory: fc.option(
      fc.record({
        examples: counts,
        trainer: word,
        device: word,
        baseModel: word,
        codecs: fc.array(word),
        dataFingerprint: hash,
      }),
      { nil: undefined },
    ),
    heldTasks: fc.array(word),
  });
  const message = fc.oneof(
    hello.map((value) =>
      create(ConnectRequestSchema, { message: { case: "hello", value: strip(value) } } as never),
    ),
    count.map((sequence) =>
      create(ConnectRequestSchema, { message: { case: "heartbeat", value: { sequence } } }),
    ),
    fc
      .record({ taskId: word, phase: word, done: count, total: count, metrics: numbers })
      .map((value) => create(ConnectRequestSchema, { message: { case: "progress", value } })),
    fc.constant(create(ConnectRequestSchema, {})),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(message, { maxLength: 5 }), (messages) =>
      answered(() => drain(fleet.connect(of<ConnectRequest>(messages), never))),
    ),
    { numRuns: RUNS },
  );
});

test("requests for blobs, reports of failures", async () => {
  const { fleet } = open;
  await fc.assert(
    fc.asyncProperty(word, hash, count, word, async (clientId, sha256, offset, text) => {
      await Promise.all([
        answered(() =>
          drain(fleet.fetchBlob(create(FetchBlobRequestSchema, { clientId, sha256, offset }), never)),
        ),
        answered(() => fleet.statBlob(create(StatBlobRequestSchema, { clientId, sha256 }), never)),
        answered(() => {
          const report = { clientId, taskId: text, phase: text, code: text, message: text };
          return fleet.reportFailure(create(ReportFailureRequestSchema, report), never);
        }),
      ]);
    }),
    { numRuns: RUNS },
  );
});

test("enrolments and renewals: none of it makes a site or spends a token", async () => {
  const directory = temporaryDirectory();
  const store = openSqliteStore(directory);
  later(() => store.close());
  const { registry } = store;
  const parts = { registry, clock: systemClock, log: silentLog, onRevoked: () => undefined };
  const gate = await Gate.open({ ...parts, authority: await openAuthority(directory, systemClock) });
  const invited = parseJoinToken(await gate.invite("site-1", 3_600_000, "test"));
  const key = requestOf("site-1", newKey());
  const strangers = gate.enrolment({ address: "10.0.0.1:1" });
  const name = fc.oneof(word, fc.constant("site-1"));
  const secret = fc.oneof(bytes, fc.constant(invited.secret));
  // A key without its proof, a proof without its key, or neither: never both.
  const half = fc.oneof(
    fc.constant(undefined),
    bytes.map((proof) => create(NewKeySchema, { publicKey: key.publicKey, proof })),
    bytes.map((publicKey) => create(NewKeySchema, { publicKey, proof: key.proof })),
  );
  await fc.assert(
    fc.asyncProperty(name, secret, half, async (clientId, given, newKey) => {
      const message = strip({ clientId, key: newKey });
      const enrolment = create(EnrollRequestSchema, { ...message, secret: given });
      await expect(strangers.enroll(enrolment, never)).rejects.toBeInstanceOf(FedloomError);
      const renewal = create(RenewRequestSchema, message);
      await expect(strangers.renew(renewal, never)).rejects.toBeInstanceOf(FedloomError);
    }),
    { numRuns: RUNS },
  );
  expect(gate.sites()).toEqual([]);
  const honest = create(EnrollRequestSchema, { clientId: "site-1", secret: invited.secret, key });
  expect((await strangers.enroll(honest, never)).certificatePem).toContain("BEGIN CERTIFICATE");
});

test("after all of that the round is as open as before", () => {
  const [engine] = open.coordinator.runs();
  expect(engine!.run.phase).toBe("collecting");
  expect(engine!.run.round!.members.get("c1")).toEqual({ status: "waiting" });
});

test("bytes that are no message, at every method", async () => {
  const edge = await serveGrpc(open.coordinator, "127.0.0.1:0");
  later(() => edge.close());
  const session = http2.connect(`http://${edge.address}`);
  later(() => session.destroy());
  const send = (path: string, body: Uint8Array): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const headers = {
        ":method": "POST",
        ":path": path,
        "content-type": "application/grpc",
        te: "trailers",
      };
      const stream = session.request(headers);
      let status: unknown;
      stream.on("response", (found) => {
        status = found["grpc-status"];
      });
      stream.on("trailers", (found) => {
        status = found["grpc-status"];
      });
      stream.on("error", reject);
      stream.on("close", () => resolve(status));
      stream.resume();
      stream.end(body);
    });
  const path = fc.constantFrom(...Object.values(FLEET_METHODS).map((method) => method.path), "/nowhere", "/");
  // A gRPC frame: compression flag, length as it is or a lie, content.
  const frame = fc
    .record({ flag: fc.nat(3), lie: fc.option(fc.nat(2 ** 31)), content: bytes })
    .map(({ flag, lie, content }) => {
      const head = Buffer.alloc(5);
      head.writeUInt8(flag);
      head.writeUInt32BE(lie ?? content.length, 1);
      return Buffer.concat([head, content]);
    });
  await fc.assert(
    fc.asyncProperty(path, fc.oneof(frame, bytes), async (where, body) => {
      // Whatever the status is, there is one, and it is not success.
      const status = await send(where, body);
      expect(Number(status)).toBeGreaterThan(0);
    }),
    {
      numRuns: RUNS,
      examples: [["/fedloom.v1.FleetService/PushBlob", Buffer.from([0, 0x7f, 0xff, 0xff, 0xff, 1])]],
    },
  );
  expect(session.destroyed).toBe(false);
});

test("names of tasks and join tokens: what reads back is what was written, the rest is refused", () => {
  fc.assert(
    fc.property(word, (text) => {
      const name = parseTaskId(text);
      if (name !== undefined) expect(formatTaskId(name)).toBe(text);
      expect(() => parseJoinToken(text)).toThrow(FedloomError);
    }),
    { numRuns: RUNS },
  );
});
