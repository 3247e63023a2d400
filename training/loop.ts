import { floats } from "../adapters/cast.ts";
import { float32, type TensorSet, tensorSet } from "../adapters/tensor.ts";
import type { Clock } from "../base/clock.ts";
import { FedloomError, messageOf } from "../base/errors.ts";
import { createRng } from "../base/rng.ts";
import { Accumulator } from "./accumulate.ts";
import { exampleFisher, runningFisher } from "./fisher.ts";
import { gradientTerms } from "./gradient-terms.ts";
import {
  assertNotAborted,
  type Gradients,
  type Learner,
  type Losses,
  microBatches,
  type Portion,
  type Row,
} from "./learner.ts";
import type { Parameter } from "./optimizers/rule.ts";
import { clipGradients, createOptimizer } from "./optimizers.ts";
import { learningRateAt } from "./schedule.ts";
import { planSteps } from "./steps.ts";
import { Tally } from "./tally.ts";
import type { TrainControl, TrainResult, TrainTask } from "./trainer.ts";

/** One task's training: it yields the next micro-batch and takes its gradients, until it returns what came of it. */
export type Training<R extends Row> = AsyncGenerator<Portion<R>, TrainResult, Gradients>;

/**
 * @param rows the task's examples
 * @throws FedloomError F2135 without rows, F2136 once the signal aborts, F2137 where numbers stop being finite
 */
export async function* training<R extends Row>(
  task: TrainTask,
  rows: readonly R[],
  learner: Learner<R>,
  clock: Clock,
  { onProgress, onPartial, signal }: TrainControl,
): Training<R> {
  if (rows.length === 0) throw new FedloomError("F2135", "Cannot train: the task has no examples");
  const { options, adapter } = task;
  const rng = createRng(task.seed);
  const plan = planSteps(options, rows.length, rng);
  const { weights, parameters } = trainableCopy(task, learner);
  const size = options.per_device_train_batch_size;
  const wants = (extra: string): boolean => task.extras?.includes(extra) === true;
  const addTerms = gradientTerms(task, parameters);
  const optimizer = createOptimizer(options, parameters, task.optimizerState);
  const accumulator = new Accumulator<R>(parameters);
  const running = wants("fisher-running") ? runningFisher(parameters) : undefined;
  const lossBefore = task.measure?.includes("lossBefore")
    ? await meanLoss(learner, rows, weights, size, signal)
    : undefined;

  const tally = new Tally<R>(plan);
  const startedMs = clock.monotonic();
  for (let step = 0; step < plan.steps; step++) {
    const stepRows = plan.examplesOf(step).map((i) => rows[i]!);
    const learningRate = learningRateAt(options, step, plan.steps);
    try {
      const seedOf = (part: number): string => rng.fork("dropout", step, part).uint32().toString();
      const result = yield* accumulator.step(microBatches(stepRows, size), weights, seedOf, signal);
      running?.add(result.gradients);
      addTerms(result.gradients, step / plan.steps);
      assertFinite(result, clipGradients(result.gradients, options.max_grad_norm));
      optimizer.step(result.gradients, learningRate);
      tally.add(stepRows, result, learningRate);
    } catch (cause) {
      onPartial?.({ config: adapter.config, tensors: copyOf(weights) }, step);
      throw withStep(cause, step + 1, plan.steps, stepRows);
    }
    onProgress?.(tally.progress(learningRate, clock.monotonic() - startedMs));
  }
  const { metrics, ...counts } = tally.result();
  return {
    ...counts,
    adapter: { config: adapter.config, tensors: copyOf(weights) },
    metrics: { ...metrics, ...(lossBefore === undefined ? {} : { lossBefore }) },
    extras: {
      ...(wants("optimizer") ? { optimizer: optimizer.save() } : {}),
      ...(running === undefined ? {} : { "fisher-running": running.mean() }),
      ...(wants("fisher") ? { fisher: await exampleFisher(learner, rows, weights, parameters, signal) } : {}),
    },
  };
}

/** A training on its own, to its end. */
export async function trainAlone<R extends Row>(run: Training<R>, learner: Learner<R>): Promise<TrainResult> {
  let turn = await run.next();
  while (turn.done !== true) {
    const { rows, parameters, seed } = turn.value;
    const answer = learner.gradients(rows, parameters, seed);
    turn = await answer.then(
      (gradients) => run.next(gradients),
      (error: unknown) => run.throw(error),
    );
  }
  return turn.value;
}

/** The adapter's tensors, those that are trained as float32 copies that the optimizer may write into. */
function trainableCopy(
  { adapter, frozen }: TrainTask,
  { trainable, tables }: Pick<Learner<Row>, "trainable" | "tables">,
): { weights: TensorSet; parameters: readonly Parameter[] } {
  const pattern = frozen === undefined ? undefined : new RegExp(frozen);
  const parameters: Parameter[] = [];
  const weights = tensorSet(
    [...adapter.tensors].map(([name, tensor]) => {
      if (!trainable.has(name) || pattern?.test(name) === true) return [name, tensor] as const;
      const data = Float32Array.from(floats(tensor));
      parameters.push({ name, shape: tensor.shape, data, table: tables?.has(name) === true });
      return [name, float32(tensor.shape, data)] as const;
    }),
  );
  return { weights, parameters };
}

function copyOf(weights: TensorSet): TensorSet {
  return new Map([...weights].map(([name, tensor]) => [name, { ...tensor, data: tensor.data.slice() }]));
}

async function meanLoss<R extends Row>(
  learner: Learner<R>,
  rows: readonly R[],
  weights: TensorSet,
  size: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  let lossSum = 0;
  let labels = 0;
  for (const batch of microBatches(rows, size)) {
    assertNotAborted(signal, "Training");
    const losses = await learner.losses(batch, weights);
    lossSum += losses.lossSum;
    labels += losses.labels;
  }
  return lossSum / labels;
}

function assertFinite({ lossSum, labels }: Losses, norm: number): void {
  if (Number.isFinite(lossSum) && Number.isFinite(norm)) return;
  throw new FedloomError("F2137", `the loss is ${lossSum / labels}, the norm of its gradient ${norm}`);
}

/** Codes that mean "not a number here", from this loop and from the engine. */
const NOT_FINITE: readonly string[] = ["F2112", "F2137"];

function withStep(cause: unknown, step: number, steps: number, rows: readonly Row[]): unknown {
  if (!(cause instanceof FedloomError) || !NOT_FINITE.includes(cause.code)) return cause;
  const shown = rows.slice(0, 8).map(({ id }) => `"${id}"`);
  return new FedloomError(
    "F2137",
    `Cannot take step ${step} of ${steps} (examples ${shown.join(", ")}${rows.length > 8 ? ", ..." : ""}): ${messageOf(cause)}`,
    { step, steps },
    { cause },
  );
}
