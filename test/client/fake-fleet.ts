/** A coordinator made of a few maps: it hands out what a test gives it, and remembers what it was told. */
import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import type { Adapter } from "../../adapters/adapter.ts";
import { encodeAdapter } from "../../adapters/peft.ts";
import { FedloomError } from "../../base/errors.ts";
import { canonicalJson } from "../../base/hash.ts";
import { type TaskOptions, taskOptions } from "../../config/task.ts";
import type { Fleet } from "../../proto/fleet.ts";
import {
  type BlobRef,
  BlobRefSchema,
  type ConnectRequest,
  type ConnectResponse,
  ConnectResponseSchema,
  FetchBlobResponseSchema,
  type Hello,
  PushBlobResponseSchema,
  type ReportFailureRequest,
  ReportFailureResponseSchema,
  StatBlobResponseSchema,
  type SubmitResultRequest,
  SubmitResultResponseSchema,
  type Task,
  TaskKind,
  type TaskProgress,
  TaskSchema,
  Verdict,
} from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import { MessageQueue } from "../../proto/streams.ts";
import { ownVersion } from "../../proto/version.ts";
import { TOY_BASE } from "../toy-trainer.ts";

/** Small, so that a small adapter comes in several. */
const CHUNK = 100;

export interface FakeFleet extends Fleet {
  readonly blobs: Map<string, Uint8Array>;
  readonly hellos: Hello[];
  readonly heartbeats: bigint[];
  readonly progress: TaskProgress[];
  readonly submitted: SubmitResultRequest[];
  readonly failures: ReportFailureRequest[];
  /** SHA-256 and offset of every FetchBlob. */
  readonly fetches: { sha256: string; offset: number }[];
  /** Called before each call is answered; what it throws is the answer. */
  before(call: keyof Fleet): void;
  /** Called with every fetched chunk; may change or refuse it. */
  onChunk(data: Uint8Array, offset: number): Uint8Array;
  verdict: Verdict;
  /** Open tasks, sent on every connection and at once to one that stands. */
  offer(task: Task): void;
  send(response: ConnectResponse): void;
  /** Ends the standing connection. */
  drop(error?: FedloomError): void;
  store(bytes: Uint8Array): BlobRef;
  trainTask(id: string, adapter: Adapter, more?: Partial<Task>, options?: Partial<TaskOptions>): Task;
  /** Resolves when `holds` does; looked at after every call. */
  until(holds: () => boolean): Promise<void>;
}

export function createFakeFleet(): FakeFleet {
  const open = new Map<string, Task>();
  const partial = new Map<string, Buffer>();
  const watchers = new Set<() => void>();
  const changed = (): void => {
    for (const watch of watchers) watch();
  };
  let answers: MessageQueue<ConnectResponse> | undefined;
  const taskMessage = (task: Task): ConnectResponse =>
    create(ConnectResponseSchema, { message: { case: "task", value: task } });
  const hash = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

  const fake: FakeFleet = {
    blobs: new Map(),
    hellos: [],
    heartbeats: [],
    progress: [],
    submitted: [],
    failures: [],
    fetches: [],
    before: () => {},
    onChunk: (data) => data,
    verdict: Verdict.ACCEPTED,

    async *connect(requests, signal) {
      fake.before("connect");
      const queue = new MessageQueue<ConnectResponse>();
      answers = queue;
      signal.addEventListener("abort", () => queue.end(), { once: true });
      void listen(requests, queue);
      yield* queue;
    },
    async *fetchBlob({ sha256, offset }) {
      fake.before("fetchBlob");
      fake.fetches.push({ sha256, offset: Number(offset) });
      const bytes = fake.blobs.get(sha256);
      if (bytes === undefined) throw new FedloomError("F5008", `There is no blob ${sha256}`);
      for (let at = Number(offset); at < bytes.length; at += CHUNK) {
        const data = fake.onChunk(bytes.subarray(at, at + CHUNK), at);
        yield create(FetchBlobResponseSchema, { offset: BigInt(at), data });
      }
    },
    async statBlob({ sha256 }) {
      fake.before("statBlob");
      return create(StatBlobResponseSchema, {
        complete: fake.blobs.has(sha256),
        held: BigInt(partial.get(sha256)?.length ?? 0),
      });
    },
    async pushBlob(requests) {
      fake.before("pushBlob");
      let name = "";
      for await (const { message } of requests) {
        if (message.case === "header") name = message.value.blob!.sha256;
        if (message.case === "chunk") {
          partial.set(name, Buffer.concat([partial.get(name) ?? Buffer.alloc(0), message.value.data]));
        }
      }
      const bytes = partial.get(name) ?? Buffer.alloc(0);
      partial.delete(name);
      if (hash(bytes) !== name) throw new FedloomError("F5106", "Wrong hash");
      fake.blobs.set(name, bytes);
      return create(PushBlobResponseSchema, { size: BigInt(bytes.length) });
    },
    async submitResult(request) {
      fake.before("submitResult");
      fake.submitted.push(request);
      open.delete(request.taskId);
      changed();
      return create(SubmitResultResponseSchema, { verdict: fake.verdict, reason: "as the test says" });
    },
    async reportFailure(request) {
      fake.before("reportFailure");
      fake.failures.push(request);
      open.delete(request.taskId);
      changed();
      return create(ReportFailureResponseSchema);
    },

    offer(task) {
      open.set(task.taskId, task);
      answers?.push(taskMessage(task));
    },
    send: (response) => answers?.push(response),
    drop: (error) => answers?.end(error),
    store(bytes) {
      const sha256 = hash(bytes);
      fake.blobs.set(sha256, bytes);
      return create(BlobRefSchema, { sha256, size: BigInt(bytes.length) });
    },
    trainTask(id, adapter, more = {}, options = {}) {
      const files = encodeAdapter(adapter);
      const chosen = { kind: "train", seed: `seed ${id}`, training: {}, prompt: "standard", codec: "fp32" };
      const task = create(TaskSchema, {
        taskId: id,
        runId: "run",
        round: 1,
        kind: TaskKind.TRAIN,
        optionsJson: Buffer.from(canonicalJson(taskOptions.parse({ ...chosen, ...options }))),
        adapterConfig: fake.store(files.config),
        adapterModel: fake.store(files.model),
        baseModel: TOY_BASE,
      });
      return Object.assign(task, more);
    },
    until: (holds) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (!holds()) return;
          watchers.delete(look);
          resolve();
        };
        watchers.add(look);
        look();
      }),
  };

  async function listen(
    requests: AsyncIterable<ConnectRequest>,
    queue: MessageQueue<ConnectResponse>,
  ): Promise<void> {
    for await (const { message } of requests) {
      if (message.case === "hello") {
        fake.hellos.push(message.value);
        const welcome = { version: ownVersion(), heartbeatMs: 1000, features: [] };
        queue.push(create(ConnectResponseSchema, { message: { case: "welcome", value: welcome } }));
        for (const task of open.values()) queue.push(taskMessage(task));
      }
      if (message.case === "heartbeat") fake.heartbeats.push(message.value.sequence);
      if (message.case === "progress") fake.progress.push(message.value);
      changed();
    }
  }
  return fake;
}
