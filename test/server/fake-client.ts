/** A client without a trainer: it adds its own number to every value of the adapter, and does all the rest for real. */
import { create } from "@bufbuild/protobuf";
import type { Adapter } from "../../adapters/adapter.ts";
import { floats } from "../../adapters/cast.ts";
import { decodeAdapter, encodeAdapter } from "../../adapters/peft.ts";
import { float32, type Tensor, tensorSet } from "../../adapters/tensor.ts";
import { sha256 } from "../../base/hash.ts";
import { CHUNK_BYTES } from "../../proto/channel.ts";
import type { Fleet } from "../../proto/fleet.ts";
import {
  type BlobRef,
  BlobRefSchema,
  type ConnectRequest,
  ConnectRequestSchema,
  FetchBlobRequestSchema,
  PushBlobRequestSchema,
  StatBlobRequestSchema,
  type SubmitResultRequest,
  SubmitResultRequestSchema,
  type SubmitResultResponse,
  type Task,
  TaskKind,
} from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import { MessageQueue } from "../../proto/streams.ts";
import { ownVersion } from "../../proto/version.ts";

export interface FakeOptions {
  /** What it adds to every value in every round. */
  readonly adds?: number;
  readonly examples?: number;
  readonly baseModel?: string;
  readonly sessionId?: string;
  /** That it says it understands; it sends whole tensors whatever it is asked for. */
  readonly codecs?: readonly string[];
  /** Changes the update before it is encoded. */
  readonly bend?: (adapter: Adapter, task: Task) => Adapter;
  /** Changes the result before it is offered. */
  readonly claim?: (result: SubmitResultRequest, task: Task) => SubmitResultRequest;
  /** Takes the place of all work; undefined goes on as usual. */
  readonly onTask?: (client: FakeClient, task: Task) => Promise<boolean>;
}

export class FakeClient {
  readonly id: string;
  readonly fleet: Fleet;
  readonly options: FakeOptions;
  readonly requests = new MessageQueue<ConnectRequest>();
  readonly tasks: Task[] = [];
  readonly cancelled: string[] = [];
  readonly verdicts: SubmitResultResponse[] = [];
  /** Rejects with what ended the connection, resolves where it ended in peace. */
  readonly ended: Promise<void>;
  readonly #stop = new AbortController();
  readonly #welcome = Promise.withResolvers<void>();
  readonly #busy = new Set<string>();

  constructor(fleet: Fleet, id: string, options: FakeOptions = {}) {
    this.fleet = fleet;
    this.id = id;
    this.options = options;
    this.ended = this.#run();
    this.ended.catch((error: unknown) => this.#welcome.reject(error));
    this.#welcome.promise.catch(() => undefined);
  }

  /** Resolves when the coordinator knows this client. */
  get welcome(): Promise<void> {
    return this.#welcome.promise;
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  close(): void {
    this.#stop.abort();
    this.requests.end();
  }

  async #run(): Promise<void> {
    const { sessionId = "s1", baseModel = "", examples = 10, codecs = [] } = this.options;
    const inventory = {
      ...{ examples: { text: BigInt(examples) }, trainer: "fake", device: "cpu", baseModel },
      codecs: [...codecs],
    };
    this.say({ case: "hello", value: { version: ownVersion(), clientId: this.id, sessionId, inventory } });
    for await (const { message } of this.fleet.connect(this.requests, this.signal)) {
      if (message.case === "welcome") this.#welcome.resolve();
      if (message.case === "cancel") this.cancelled.push(message.value.taskId);
      if (message.case === "task") {
        const task = message.value;
        this.tasks.push(task);
        if (this.#busy.has(task.taskId)) continue;
        this.#busy.add(task.taskId);
        this.#work(task)
          .catch(() => undefined)
          .finally(() => this.#busy.delete(task.taskId));
      }
    }
  }

  say(
    message: Exclude<Parameters<typeof create<typeof ConnectRequestSchema>>[1], undefined>["message"],
  ): void {
    this.requests.push(create(ConnectRequestSchema, { message: message! }));
  }

  async #work(task: Task): Promise<void> {
    if ((await this.options.onTask?.(this, task)) === true) return;
    const result = task.kind === TaskKind.TRAIN ? await this.train(task) : await this.evaluate(task);
    this.verdicts.push(
      await this.fleet.submitResult(this.options.claim?.(result, task) ?? result, this.signal),
    );
  }

  /** Fetches, adds, uploads. */
  async train(task: Task): Promise<SubmitResultRequest> {
    const files = {
      config: await this.fetch(task.adapterConfig!),
      model: await this.fetch(task.adapterModel!),
    };
    const global = decodeAdapter(files, task.taskId);
    const trained = shifted(global, this.options.adds ?? 1);
    const update = encodeAdapter(this.options.bend?.(trained, task) ?? trained);
    return create(SubmitResultRequestSchema, {
      clientId: this.id,
      taskId: task.taskId,
      runId: task.runId,
      round: task.round,
      adapterConfig: await this.push(task, update.config),
      adapterModel: await this.push(task, update.model),
      examples: BigInt(this.options.examples ?? 10),
      steps: 1n,
      tokens: 5n,
      touched: { text: BigInt(this.options.examples ?? 10) },
      metrics: { loss: 1 / task.round },
      trainedFrom: task.adapterModel!.sha256,
      durationMs: 3n,
    });
  }

  async evaluate(task: Task): Promise<SubmitResultRequest> {
    return create(SubmitResultRequestSchema, {
      clientId: this.id,
      taskId: task.taskId,
      runId: task.runId,
      round: task.round,
      examples: 4n,
      metrics: { accuracy: 0.5 },
      trainedFrom: task.adapterModel!.sha256,
    });
  }

  async fetch({ sha256: hash, size }: BlobRef): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    const request = create(FetchBlobRequestSchema, { clientId: this.id, sha256: hash });
    for await (const { data } of this.fleet.fetchBlob(request, this.signal)) chunks.push(data.slice());
    const bytes = Buffer.concat(chunks);
    if (sha256(bytes) !== hash || bytes.length !== Number(size)) throw new Error("fetched another blob");
    return bytes;
  }

  async push(
    task: Task,
    bytes: Uint8Array,
    announce: { sha256?: string; size?: bigint } = {},
  ): Promise<BlobRef> {
    const blob = create(BlobRefSchema, { sha256: sha256(bytes), size: BigInt(bytes.length), ...announce });
    const held = await this.fleet.statBlob(
      create(StatBlobRequestSchema, { clientId: this.id, sha256: blob.sha256 }),
      this.signal,
    );
    if (!held.complete) {
      const offset = Number(held.held);
      await this.fleet.pushBlob(pieces(this.id, task.taskId, blob, offset, bytes), this.signal);
    }
    return blob;
  }
}

export async function* pieces(
  clientId: string,
  taskId: string,
  blob: { sha256: string; size: bigint },
  offset: number,
  bytes: Uint8Array,
) {
  const header = { blob: create(BlobRefSchema, blob), offset: BigInt(offset), clientId, taskId };
  yield create(PushBlobRequestSchema, { message: { case: "header", value: header } });
  for (let at = offset; at < bytes.length; at += CHUNK_BYTES) {
    const data = bytes.subarray(at, at + CHUNK_BYTES);
    yield create(PushBlobRequestSchema, { message: { case: "chunk", value: { data } } });
  }
}

/** Every value of every tensor, plus a number. */
export function shifted(adapter: Adapter, by: number): Adapter {
  const tensors = [...adapter.tensors].map(([name, tensor]): [string, Tensor] => [
    name,
    float32(
      tensor.shape,
      [...floats(tensor)].map((value) => value + by),
    ),
  ]);
  return { ...adapter, tensors: tensorSet(tensors) };
}
