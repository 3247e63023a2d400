/** What one client of a round is handed. */
import { create } from "@bufbuild/protobuf";
import type { Adapter } from "../../adapters/adapter.ts";
import { negotiate } from "../../adapters/codecs/index.ts";
import { negotiateSet } from "../../adapters/encoded-set.ts";
import { writeSafetensors } from "../../adapters/safetensors.ts";
import type { BuiltStrategy } from "../../aggregators/build.ts";
import { decodeState } from "../../aggregators/state-file.ts";
import type { ClientInstructions, StrategyState } from "../../aggregators/strategy.ts";
import { canonicalJson, sha256 } from "../../base/hash.ts";
import { durationMs } from "../../config/duration.ts";
import { evaluateOptions, type TaskOptions, trainOptions } from "../../config/task.ts";
import { type Task, TaskKind, TaskSchema } from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import type { Origin } from "../admission.ts";
import type { Blobs } from "../blobs/blobs.ts";
import type { AdapterRef, BlobRef, Start } from "../records.ts";
import type { Run } from "../run/state.ts";
import { formatTaskId } from "../task-id.ts";
import { readGlobal } from "./aggregate.ts";
import { strategyOf } from "./prepare.ts";

/** What tasks of one start and the gate for their updates are made from. */
export interface Materials {
  readonly built: BuiltStrategy;
  readonly global: Adapter;
  readonly origin: Origin;
  readonly state: StrategyState;
}

export async function readMaterials(
  run: Run,
  blobs: Blobs,
  { version, global, state }: Start,
): Promise<Materials> {
  return {
    built: strategyOf(run.config),
    ...(await readGlobal(blobs, global, `round ${version + 1} of run "${run.id}"`)),
    state: decodeState(await blobs.bytes(state)),
  };
}

/** What the strategy wants of one client. */
export function instructionsFor(
  { version }: Start,
  { built, global, state }: Materials,
  client: string,
): ClientInstructions {
  return built.strategy.plan?.(state, { round: version + 1, client, global }) ?? {};
}

export interface Assigned {
  readonly client: string;
  /** The round, in an asynchronous run the draw: in the task's name and in its seed. */
  readonly number: number;
  readonly start: Start;
}

/** @param codecs those that the client understands */
export async function trainTask(
  run: Run,
  { client, number, start }: Assigned,
  materials: Materials,
  blobs: Blobs,
  { codecs, deadlineMs }: { readonly codecs: readonly string[]; readonly deadlineMs: number },
): Promise<Task> {
  const { corrections, extrasCodecs, ...instructions } = instructionsFor(start, materials, client);
  const { training, prompt, rounds } = run.config;
  const codec = negotiate([run.config.codec], codecs).name;
  const seed = seedOf(run, "train", number, client);
  const extrasCodec = negotiateSet(extrasCodecs ?? [], codecs);
  const options = trainOptions.parse({
    ...{ kind: "train", seed, rounds, training, prompt, codec, ...instructions },
    ...(extrasCodec !== "fp32" && { extrasCodec }), // a client that knows no such codec knows no such key
  });
  const sets: Record<string, { sha256: string; size: bigint }> = {};
  for (const [kind, set] of Object.entries(corrections ?? {})) {
    sets[kind] = wireRef(await blobs.put(writeSafetensors(set)));
  }
  if (start.baseDelta !== undefined) sets.base = wireRef(start.baseDelta.model);
  return taskOf(run, { client, number, options, adapter: start.global, sets, deadlineMs });
}

/** @param whole what the round gave, as one adapter */
export function evaluateTask(run: Run, client: string, whole: AdapterRef, deadlineMs: number): Task {
  const { metrics, limit, maxNewTokens, options, batchSize } = run.config.evaluation!;
  const { prompt } = run.config;
  const { number } = run;
  const seed = seedOf(run, "evaluate", number, client);
  const asked = evaluateOptions.parse({
    kind: "evaluate",
    seed,
    prompt,
    metrics,
    limit,
    maxNewTokens,
    options,
    batchSize,
  });
  return taskOf(run, { client, number, options: asked, adapter: whole, sets: {}, deadlineMs });
}

/** Of one task: the same after any restart, and no other's. */
function seedOf(run: Run, purpose: string, number: number, client: string): string {
  return sha256(canonicalJson([run.config.seed, purpose, number, client]));
}

interface Contents {
  readonly client: string;
  readonly number: number;
  readonly options: TaskOptions;
  readonly adapter: AdapterRef;
  readonly sets: Record<string, { sha256: string; size: bigint }>;
  readonly deadlineMs: number;
}

function taskOf(run: Run, { client, number, options, adapter, sets, deadlineMs }: Contents): Task {
  const { kind } = options;
  return create(TaskSchema, {
    taskId: formatTaskId({ run: run.id, round: number, kind, client }),
    runId: run.id,
    round: number,
    kind: kind === "train" ? TaskKind.TRAIN : TaskKind.EVALUATE,
    optionsJson: Buffer.from(canonicalJson(options)),
    adapterConfig: wireRef(adapter.config),
    adapterModel: wireRef(adapter.model),
    corrections: sets,
    baseModel: run.base,
    deadlineMs: BigInt(Math.ceil(deadlineMs)),
    idleMs: BigInt(durationMs(run.config.cohort.idle)),
  });
}

function wireRef({ sha256, size }: BlobRef): { sha256: string; size: bigint } {
  return { sha256, size: BigInt(size) };
}
