/**
 * One task, from its adapter's blobs to a result on the client's disk. Sending the result is deliver.ts.
 *
 * The order matters for crashes: personal tensors, then the update's blobs, then the note that names them. A crash
 * before the note leaves a task that is trained again, to the same bits; after it, a result that is only offered.
 */
import { create } from "@bufbuild/protobuf";
import { codecOf } from "../adapters/codecs/index.ts";
import { encodeUpdate } from "../adapters/encoded-update.ts";
import { type AdapterFiles, baseMetadata, decodeAdapter } from "../adapters/peft.ts";
import { formatPeftConfig } from "../adapters/peft-config.ts";
import { readSafetensors, writeSafetensors } from "../adapters/safetensors.ts";
import { stackOnBase } from "../adapters/side-factors.ts";
import type { TensorSet } from "../adapters/tensor.ts";
import type { Clock } from "../base/clock.ts";
import { FedloomError, messageOf } from "../base/errors.ts";
import { failpoint } from "../base/failpoint.ts";
import { createRng } from "../base/rng.ts";
import { type EvaluateOptions, type TaskOptions, type TrainOptions, taskOptions } from "../config/task.ts";
import { score } from "../data/metrics/index.ts";
import {
  type BlobRef,
  BlobRefSchema,
  type SubmitResultRequest,
  SubmitResultRequestSchema,
  type Task,
} from "../proto/gen/fedloom/v1/fleet_pb.ts";
import type { Prediction, PredictTask, Trainer, TrainTask } from "../training/trainer.ts";
import type { BlobName } from "./blobs.ts";
import { type Shard, wordedAs } from "./inventory.ts";
import { splitTravelling, withPersonal } from "./local-tensors.ts";
import type { ClientState } from "./state.ts";
import type { Transfer } from "./transfer.ts";

/** Where a task is, for progress and for the report of a failure. */
export type Phase = "fetch" | "prepare" | "train" | "evaluate" | "push";

export interface WorkControl {
  readonly signal: AbortSignal;
  onPhase(phase: Phase): void;
  onProgress(done: number, total: number, metrics: Readonly<Record<string, number>>): void;
}

export interface Workplace {
  readonly state: ClientState;
  readonly transfer: Transfer;
  readonly trainer: Trainer;
  readonly shard: Shard;
  readonly clock: Clock;
}

/** Where the coordinator says nothing: as long as a run's `cohort.idle` is by default. */
const DEFAULT_IDLE_MS = 60_000;

/** Batches between two reports of progress in an evaluation, so that a long one does not count as idle. */
const BATCHES_AT_ONCE = 4;

export function idleMsOf(task: Task): number {
  return Number(task.idleMs) || DEFAULT_IDLE_MS;
}

/** @throws FedloomError for whatever keeps the task from being done; the signal's reason once it aborts */
export async function doTask(
  task: Task,
  place: Workplace,
  control: WorkControl,
): Promise<SubmitResultRequest> {
  const startedMs = place.clock.monotonic();
  const options = parseOptions(task);
  requireSameBase(task, place.trainer);
  control.onPhase("fetch");
  const { files, corrections } = await fetchInputs(task, place, control);
  const result =
    options.kind === "train"
      ? await train(task, options, files, corrections, place, control)
      : await evaluate(task, options, files, corrections, place, control);
  const submission = create(SubmitResultRequestSchema, {
    ...result,
    clientId: place.state.clientId,
    taskId: task.taskId,
    runId: task.runId,
    round: task.round,
    trainedFrom: task.adapterModel?.sha256 ?? "",
    durationMs: BigInt(Math.round(place.clock.monotonic() - startedMs)),
  });
  place.state.keep(submission);
  return submission;
}

function parseOptions(task: Task): TaskOptions {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(task.optionsJson).toString("utf8"));
  } catch (cause) {
    throw unknownTask(task, "its options are no JSON", cause);
  }
  const parsed = taskOptions.safeParse(json);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw unknownTask(task, `"${path.join(".")}": ${message}`, parsed.error);
}

function unknownTask(task: Task, why: string, cause: unknown): FedloomError {
  return new FedloomError(
    "F5102",
    `Cannot do task ${task.taskId}: ${why}; if the coordinator is newer, upgrade this client`,
    { task: task.taskId },
    { cause },
  );
}

function requireSameBase(task: Task, trainer: Trainer): void {
  if (task.baseModel === "" || task.baseModel === trainer.baseHash) return;
  throw new FedloomError(
    "F5104",
    `Cannot work for run ${task.runId}: its base model has hash ${task.baseModel}, this client's has ${trainer.baseHash}; start the client with the run's model`,
    { wanted: task.baseModel, got: trainer.baseHash },
  );
}

function nameOf(ref: BlobRef | undefined, what: string, task: Task): BlobName {
  if (ref === undefined)
    throw unknownTask(task, `it lacks its ${what}`, new TypeError(`Task without ${what}`));
  return { sha256: ref.sha256, size: Number(ref.size) };
}

async function fetchInputs(
  task: Task,
  { transfer, state }: Workplace,
  control: WorkControl,
): Promise<{ files: AdapterFiles; corrections: Record<string, TensorSet> }> {
  const config = nameOf(task.adapterConfig, "adapter configuration", task);
  const model = nameOf(task.adapterModel, "adapter", task);
  const sets = Object.entries(task.corrections).map(
    ([kind, ref]) => [kind, nameOf(ref, kind, task)] as const,
  );
  const blobs = [config, model, ...sets.map(([, blob]) => blob)];
  const totalBytes = blobs.reduce((sum, blob) => sum + blob.size, 0);
  let beforeBytes = 0;
  const bytes = new Map<string, Uint8Array>();
  for (const blob of blobs) {
    const fetch = (): Promise<void> =>
      transfer.fetch(blob, {
        signal: control.signal,
        idleMs: idleMsOf(task),
        onProgress: (done) => control.onProgress(beforeBytes + done, totalBytes, {}),
      });
    await fetch();
    try {
      bytes.set(blob.sha256, state.blobs.read(blob));
    } catch (error) {
      if (!(error instanceof FedloomError && error.code === "F5106")) throw error;
      await fetch(); // it was there from an earlier round, and its bits have changed since
      bytes.set(blob.sha256, state.blobs.read(blob));
    }
    beforeBytes += blob.size;
  }
  const read = (blob: BlobName): Uint8Array => bytes.get(blob.sha256)!;
  return {
    files: { config: read(config), model: read(model) },
    corrections: Object.fromEntries(sets.map(([kind, blob]) => [kind, readSafetensors(read(blob), kind)])),
  };
}

type Result = Partial<Omit<SubmitResultRequest, "$typeName" | "$unknown">>;

async function train(
  task: Task,
  options: TrainOptions,
  files: AdapterFiles,
  corrections: Record<string, TensorSet>,
  { state, trainer, shard }: Workplace,
  control: WorkControl,
): Promise<Result> {
  const examples = wordedAs(shard, options.prompt).train;
  if (examples.length === 0) throw noExamples("train");
  const global = decodeAdapter(files, `task ${task.taskId}`);
  const personal = state.local.before("personal", task.runId, task.round);
  control.onPhase("train");
  let prepared = 0;
  const { kind: _kind, prompt: _prompt, codec: _codec, training, travels, ...instructions } = options;
  const trained = await insideTrainer(() =>
    trainer.train(
      {
        // as: zod types absent members as possibly undefined; what came out of JSON has none that are.
        ...(instructions as Omit<TrainTask, "adapter" | "options" | "corrections">),
        adapter: { ...global, tensors: withPersonal(global.tensors, personal) },
        options: training,
        corrections,
      },
      examples,
      {
        signal: control.signal,
        onProgress({ step, steps, loss, learningRate, tokensPerSecond }) {
          if (step === 0) {
            if (prepared === 0) control.onPhase("prepare");
            return control.onProgress(++prepared, examples.length, {});
          }
          if (step === 1 && prepared > 0) control.onPhase("train");
          control.onProgress(step, steps, { loss, learningRate, tokensPerSecond });
        },
      },
    ),
  );
  control.signal.throwIfAborted();
  failpoint("client.trained");

  const { travelling, staying } = splitTravelling(trained.adapter.tensors, travels);
  if (staying.size > 0) state.local.save("personal", task.runId, task.round, staying);
  const memory = state.local.before("codec-memory", task.runId, task.round);
  const encoded = encodeUpdate(
    codecOf(options.codec),
    travelling,
    { tensors: global.tensors, sha256: task.adapterModel!.sha256 },
    createRng(options.seed).fork("codec"),
    { metadata: baseMetadata(trained.adapter.config), ...(memory === undefined ? {} : { memory }) },
  );
  if (encoded.memory.size > 0) {
    state.local.save("codec-memory", task.runId, task.round, encoded.memory);
  }
  const store = (bytes: Uint8Array): BlobRef => {
    const { sha256, size } = state.blobs.write((write) => write(bytes));
    return create(BlobRefSchema, { sha256, size: BigInt(size) });
  };
  const result: Result = {
    adapterConfig: store(formatPeftConfig(trained.adapter.config)),
    adapterModel: store(encoded.bytes),
    extras: Object.fromEntries(
      Object.entries(trained.extras).map(([name, set]) => [name, store(writeSafetensors(set))]),
    ),
    examples: BigInt(trained.examples),
    steps: BigInt(trained.steps),
    tokens: BigInt(trained.tokens),
    touched: Object.fromEntries(
      Object.entries(trained.touched).map(([group, count]) => [group, BigInt(count)]),
    ),
    metrics: { ...trained.metrics },
  };
  failpoint("client.update-written");
  return result;
}

async function evaluate(
  task: Task,
  options: EvaluateOptions,
  files: AdapterFiles,
  corrections: Record<string, TensorSet>,
  { state, trainer, shard }: Workplace,
  control: WorkControl,
): Promise<Result> {
  const examples = wordedAs(shard, options.prompt).heldOut.slice(0, options.limit);
  if (examples.length === 0) throw noExamples("evaluate");
  const global = decodeAdapter(files, `task ${task.taskId}`);
  // Evaluation of round t comes after its training, so the personal tensors of round t itself count.
  const personal = state.local.before("personal", task.runId, task.round + 1);
  control.onPhase("evaluate");
  const own = { ...global, tensors: withPersonal(global.tensors, personal) };
  const { base } = corrections;
  const predictTask: PredictTask = {
    adapter: base === undefined ? own : stackOnBase(own, base),
    maxNewTokens: options.maxNewTokens,
    optionScore: options.options,
    batchSize: options.batchSize,
    loss: options.metrics.some((name) => name === "loss" || name === "perplexity"),
  };
  const answers: Prediction[] = [];
  const atOnce = options.batchSize * BATCHES_AT_ONCE;
  while (answers.length < examples.length) {
    control.onProgress(answers.length, examples.length, {});
    const part = examples.slice(answers.length, answers.length + atOnce);
    answers.push(
      ...(await insideTrainer(() => trainer.predict(predictTask, part, { signal: control.signal }))),
    );
    control.signal.throwIfAborted();
  }
  return { examples: BigInt(examples.length), metrics: score(options.metrics, examples, answers) };
}

/** An error without a code becomes one: its class may leave this machine, its text may hold data and stays here. */
async function insideTrainer<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (cause) {
    if (cause instanceof FedloomError || (cause instanceof Error && cause.name === "AbortError")) throw cause;
    throw new FedloomError("F5101", messageOf(cause), {}, { cause });
  }
}

function noExamples(what: string): FedloomError {
  return new FedloomError("F5103", `Cannot ${what}: this client has no examples for it`);
}
