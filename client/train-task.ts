/**
 * A training task: the trainer's result becomes an update on the client's disk.
 *
 * The order matters for crashes: tensors that stay, then the update's blobs, then (in work.ts) the note that names
 * them. All of it is a function of the task and of what lay there before its round, so that a task that is trained
 * again leaves the same bytes.
 */

import { create } from "@bufbuild/protobuf";
import { codecOf } from "../adapters/codecs/index.ts";
import { encodeSet } from "../adapters/encoded-set.ts";
import { encodeUpdate } from "../adapters/encoded-update.ts";
import { atRank } from "../adapters/hand-out.ts";
import { baseMetadata } from "../adapters/peft.ts";
import { formatPeftConfig } from "../adapters/peft-config.ts";
import { failpoint } from "../base/failpoint.ts";
import { createRng } from "../base/rng.ts";
import type { TrainOptions } from "../config/task.ts";
import { type BlobRef, BlobRefSchema, type Task } from "../proto/gen/fedloom/v1/fleet_pb.ts";
import { prunedRank } from "../training/rank-pruning.ts";
import type { TrainResult, TrainTask } from "../training/trainer.ts";
import { wordedAs } from "./inventory.ts";
import { splitTravelling, withPersonal } from "./local-tensors.ts";
import type { ClientState } from "./state.ts";
import {
  type Inputs,
  insideTrainer,
  noExamples,
  type Result,
  type WorkControl,
  type Workplace,
} from "./workplace.ts";

export async function train(
  task: Task,
  options: TrainOptions,
  { global, globalSha256, corrections }: Inputs,
  { state, trainer, shard }: Workplace,
  control: WorkControl,
): Promise<Result> {
  const examples = wordedAs(shard, options.prompt).train;
  if (examples.length === 0) throw noExamples("train");
  const personal = state.local.before("personal", task.runId, task.round);
  const keepsOptimizer = options.training.keep_optimizer_state;
  const optimizerState = keepsOptimizer ? state.local.before("optimizer", task.runId, task.round) : undefined;
  control.onPhase("train");
  let prepared = 0;
  const {
    kind: _kind,
    prompt: _prompt,
    codec: _codec,
    travels: _travels,
    extrasCodec: _extrasCodec,
    prune,
    training,
    ...instructions
  } = options;
  const own = options.rank === undefined ? global : atRank(global, options.rank);
  const start = { ...own, tensors: withPersonal(own.tensors, personal) };
  const trained = await insideTrainer(() =>
    trainer.train(
      {
        // as: zod types absent members as possibly undefined; what came out of JSON has none that are.
        ...(instructions as Omit<TrainTask, "adapter" | "options" | "corrections">),
        adapter: start,
        options: training,
        corrections,
        extras: [...(options.extras ?? []), ...(keepsOptimizer ? ["optimizer"] : [])],
        ...(optimizerState === undefined ? {} : { optimizerState }),
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
  // The optimizer's state stays here, three times as large as what is sent.
  const { optimizer, ...extras } = trained.extras;
  if (optimizer !== undefined) state.local.save("optimizer", task.runId, task.round, optimizer);
  const adapter = prune === undefined ? trained.adapter : prunedRank(start, trained.adapter, prune);
  return keepUpdate(task, options, { global, globalSha256 }, { ...trained, adapter, extras }, state);
}

async function keepUpdate(
  task: Task,
  { codec, seed, travels, extrasCodec = "fp32" }: TrainOptions,
  { global, globalSha256 }: Pick<Inputs, "global" | "globalSha256">,
  trained: TrainResult,
  state: ClientState,
): Promise<Result> {
  const { travelling, staying } = splitTravelling(trained.adapter.tensors, travels);
  if (staying.size > 0) state.local.save("personal", task.runId, task.round, staying);
  const memory = state.local.before("codec-memory", task.runId, task.round);
  const encoded = encodeUpdate(
    codecOf(codec),
    travelling,
    { tensors: global.tensors, sha256: globalSha256 },
    createRng(seed).fork("codec"),
    { metadata: baseMetadata(trained.adapter.config), ...(memory === undefined ? {} : { memory }) },
  );
  if (encoded.memory.size > 0) {
    state.local.save("codec-memory", task.runId, task.round, encoded.memory);
  }
  const store = async (...pieces: readonly Uint8Array[]): Promise<BlobRef> => {
    const { sha256, size } = await state.blobs.write((write) => {
      for (const piece of pieces) write(piece);
    });
    return create(BlobRefSchema, { sha256, size: BigInt(size) });
  };
  const adapterModel = await store(...encoded.pieces);
  const extras: Record<string, BlobRef> = {};
  for (const [name, set] of Object.entries(trained.extras)) {
    extras[name] = await store(encodeSet(extrasCodec, set));
  }
  const result: Result = {
    adapterConfig: await store(formatPeftConfig(trained.adapter.config)),
    adapterModel,
    extras,
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
