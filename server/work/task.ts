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
import type { AdapterRef, BlobRef } from "../records.ts";
import type { Run } from "../run/state.ts";
import { formatTaskId } from "../task-id.ts";
import { readGlobal } from "./aggregate.ts";
import { strategyOf } from "./prepare.ts";

/** What a round's tasks and the gate for its updates are made from; read once a round. */
export interface Materials {
  readonly built: BuiltStrategy;
  readonly global: Adapter;
  readonly origin: Origin;
  readonly state: StrategyState;
}

export async function readMaterials(
  run: Run,
  blobs: Blobs,
  global: AdapterRef,
  state: BlobRef,
): Promise<Materials> {
  return {
    built: strategyOf(run.config),
    ...(await readGlobal(blobs, global, `round ${run.number} of run "${run.id}"`)),
    state: decodeState(await blobs.bytes(state)),
  };
}

/** What the strategy wants of one client. */
export function instructionsFor(
  run: Run,
  { built, global, state }: Materials,
  client: string,
): ClientInstructions {
  return built.strategy.plan?.(state, { round: run.number, client, global }) ?? {};
}

/** @param codecs those that the client understands */
export async function trainTask(
  run: Run,
  client: string,
  materials: Materials,
  blobs: Blobs,
  { codecs, deadlineMs }: { readonly codecs: readonly string[]; readonly deadlineMs: number },
): Promise<Task> {
  const { corrections, extrasCodecs, ...instructions } = instructionsFor(run, materials, client);
  const { training, prompt } = run.config;
  const codec = negotiate([run.config.codec], codecs).name;
  const seed = seedOf(run, "train", client);
  const extrasCodec = negotiateSet(extrasCodecs ?? [], codecs);
  const options = trainOptions.parse({
    ...{ kind: "train", seed, training, prompt, codec, ...instructions },
    ...(extrasCodec !== "fp32" && { extrasCodec }), // a client that knows no such codec knows no such key
  });
  const sets: Record<string, { sha256: string; size: bigint }> = {};
  for (const [kind, set] of Object.entries(corrections ?? {})) {
    sets[kind] = wireRef(await blobs.put(writeSafetensors(set)));
  }
  if (run.baseDelta !== undefined) sets.base = wireRef(run.baseDelta.model);
  return taskOf(run, client, options, run.global!, sets, deadlineMs);
}

/** @param whole what the round gave, as one adapter */
export function evaluateTask(run: Run, client: string, whole: AdapterRef, deadlineMs: number): Task {
  const { metrics, limit, maxNewTokens, options, batchSize } = run.config.evaluation!;
  const { prompt } = run.config;
  const seed = seedOf(run, "evaluate", client);
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
  return taskOf(run, client, asked, whole, {}, deadlineMs);
}

/** Of one client in one round: the same after any restart, and no other's. */
function seedOf(run: Run, purpose: string, client: string): string {
  return sha256(canonicalJson([run.config.seed, purpose, run.number, client]));
}

function taskOf(
  run: Run,
  client: string,
  options: TaskOptions,
  adapter: AdapterRef,
  corrections: Record<string, { sha256: string; size: bigint }>,
  deadlineMs: number,
): Task {
  const { kind } = options;
  return create(TaskSchema, {
    taskId: formatTaskId({ run: run.id, round: run.number, kind, client }),
    runId: run.id,
    round: run.number,
    kind: kind === "train" ? TaskKind.TRAIN : TaskKind.EVALUATE,
    optionsJson: Buffer.from(canonicalJson(options)),
    adapterConfig: wireRef(adapter.config),
    adapterModel: wireRef(adapter.model),
    corrections,
    baseModel: run.base,
    deadlineMs: BigInt(Math.ceil(deadlineMs)),
    idleMs: BigInt(durationMs(run.config.cohort.idle)),
  });
}

function wireRef({ sha256, size }: BlobRef): { sha256: string; size: bigint } {
  return { sha256, size: BigInt(size) };
}
