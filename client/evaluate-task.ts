import { stackOnBase } from "../adapters/side-factors.ts";
import type { EvaluateOptions } from "../config/task.ts";
import { score } from "../data/metrics/index.ts";
import type { Task } from "../proto/gen/fedloom/v1/fleet_pb.ts";
import type { Prediction, PredictTask } from "../training/trainer.ts";
import { wordedAs } from "./inventory.ts";
import { withPersonal } from "./local-tensors.ts";
import {
  type Inputs,
  insideTrainer,
  noExamples,
  type Result,
  type WorkControl,
  type Workplace,
} from "./workplace.ts";

/** Batches between two reports of progress, so that a long evaluation does not count as idle. */
const BATCHES_AT_ONCE = 4;

/** An evaluation task: the run's metrics on the client's own held-out examples. */
export async function evaluate(
  task: Task,
  options: EvaluateOptions,
  { global, corrections }: Inputs,
  { state, trainer, shard }: Workplace,
  control: WorkControl,
): Promise<Result> {
  const examples = wordedAs(shard, options.prompt).heldOut.slice(0, options.limit);
  if (examples.length === 0) throw noExamples("evaluate");
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
