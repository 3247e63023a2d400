/** Runs one cell: trains as its method says, scores on the test set, and tells what it took. */
import type { Adapter } from "../../adapters/adapter.ts";
import type { Clock } from "../../base/clock.ts";
import { FedloomError } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { Shard } from "../../client/inventory.ts";
import { type RunConfig, runConfig } from "../../config/run.ts";
import { type Example, MODALITIES } from "../../data/example.ts";
import { withKept } from "../../data/prompts/index.ts";
import type { PromptForm } from "../../data/prompts/multiple-choice.ts";
import type { Prediction, Trainer } from "../../training/trainer.ts";
import { startFleet } from "../fleet/fleet.ts";
import { firstAdapter } from "../fleet/model-work.ts";
import type { BenchmarkDataset } from "./benchmark-data.ts";
import { type Cell, cellId } from "./cell.ts";
import { type Method, methodNamed } from "./methods.ts";
import type { Protocol } from "./profiles.ts";

export interface Evaluated {
  readonly round: number;
  readonly metrics: Readonly<Record<string, number>>;
}

export interface CellResult {
  readonly cell: Cell;
  /** Per cent: means over the last rounds that the protocol names, or over clients for "local". */
  readonly metrics: Readonly<Record<string, number>>;
  /** Every evaluation of a federated run; the curve. */
  readonly curve: readonly Evaluated[];
  /** Metrics of each client's own adapter ("local"). */
  readonly perClient?: readonly Readonly<Record<string, number>>[];
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly seconds: number;
  /** SHA-256 of the final global adapter, where there is one. */
  readonly adapter?: string;
}

export interface CellTools {
  readonly dataset: BenchmarkDataset;
  readonly protocol: Protocol;
  readonly trainer: Trainer;
  readonly device: string;
  readonly model: string;
  readonly log: Log;
  readonly clock: Clock;
}

/** Curves have about this many points before the last rounds. */
const CURVE_POINTS = 3;

type Measured = Omit<CellResult, "cell" | "seconds">;

export async function runCell(cell: Cell, tools: CellTools): Promise<CellResult> {
  const method = methodNamed(cell.method);
  const startedMs = tools.clock.monotonic();
  const measured = await measure(cell, method, tools);
  requireNumber(measured.metrics, tools);
  return { cell, ...measured, seconds: (tools.clock.monotonic() - startedMs) / 1000 };
}

/** @throws FedloomError F6023 where the table would get no number */
function requireNumber(metrics: Measured["metrics"], { dataset: { name, shape } }: CellTools): void {
  const value = metrics[shape.main];
  if (value !== undefined && Number.isFinite(value)) return;
  throw new FedloomError("F6023", `Cannot score ${name}: ${shape.main} is ${value ?? "missing"}`, { name });
}

function measure(cell: Cell, method: Method, tools: CellTools): Promise<Measured> {
  switch (method.kind) {
    case "zero-shot":
      return zeroShot(tools);
    case "centralized":
      return centralized(cell, method, tools);
    case "local":
      return local(cell, method, tools);
    case "federated":
      return federated(cell, method, tools);
    default:
      return method.kind satisfies never;
  }
}

/** Steps of a client that goes once through its examples, on average. */
export function epochStepsOf({ dataset, protocol: { clients, batch } }: Work): number {
  return Math.ceil(dataset.train.length / clients / batch);
}

/** Optimizer steps of all clients of a federated run together. */
function allStepsOf(tools: Work): number {
  const { rounds, perRound, localSteps } = tools.protocol;
  return rounds * perRound * (localSteps === "epoch" ? epochStepsOf(tools) : localSteps);
}

type Work = {
  readonly protocol: Protocol;
  readonly dataset: { readonly train: { readonly length: number } };
};

const NOTHING_SENT = { curve: [], bytesUp: 0, bytesDown: 0 } as const;

async function zeroShot(tools: CellTools): Promise<Measured> {
  return { metrics: await evaluate(undefined, methodNamed("zero-shot"), tools), ...NOTHING_SENT };
}

/** As many optimizer steps as all clients of a federated run take together. */
async function centralized(cell: Cell, method: Method, tools: CellTools): Promise<Measured> {
  const { keep = MODALITIES } = method;
  const train = tools.dataset.train.map((example) => withKept(example, keep, promptOf(method)));
  const shard: Shard = { train, heldOut: [] };
  const adapter = await trainAlone(cell, method, shard, allStepsOf(tools), tools);
  return { metrics: await evaluate(adapter, method, tools), ...NOTHING_SENT };
}

/** Every client as many steps as its share of a federated run. */
async function local(cell: Cell, method: Method, tools: CellTools): Promise<Measured> {
  const steps = Math.ceil(allStepsOf(tools) / tools.protocol.clients);
  const all: Record<string, number>[] = [];
  for (const { shard } of tools.dataset.clients(tools.dataset.plan(cell.setting!))) {
    const adapter = await trainAlone(cell, method, shard, steps, tools);
    all.push(await evaluate(adapter, method, tools));
  }
  return { metrics: meanOf(all), perClient: all, ...NOTHING_SENT };
}

async function federated(cell: Cell, method: Method, tools: CellTools): Promise<Measured> {
  const config = configOf(cell, method, tools);
  const curve: Evaluated[] = [];
  const wanted = evaluatedRounds(config.rounds, tools.protocol.lastRounds);
  let round = 0;
  const fleet = await startFleet({
    config,
    trainer: tools.trainer,
    device: tools.device,
    log: tools.log,
    clients: tools.dataset.clients(tools.dataset.plan(cell.setting!)),
    batching: false, // how many clients fit into memory must not show in a cell's last bits
    async evaluate(adapter) {
      round++;
      if (!wanted.has(round)) return {};
      const metrics = await evaluate(adapter, method, tools);
      curve.push({ round, metrics });
      return { [tools.dataset.shape.main]: metrics[tools.dataset.shape.main]! };
    },
  });
  try {
    await fleet.ended;
    const { run, rounds } = fleet.engine;
    if (run.phase !== "finished") throw new Error(run.stopped?.reason ?? "the run did not finish");
    return {
      metrics: meanOf(curve.slice(-tools.protocol.lastRounds).map(({ metrics }) => metrics)),
      curve,
      bytesUp: rounds.reduce((sum, { bytesUp }) => sum + bytesUp, 0),
      bytesDown: rounds.reduce((sum, { bytesDown }) => sum + bytesDown, 0),
      adapter: run.global!.model.sha256,
    };
  } finally {
    await fleet.close();
  }
}

/** Some on the way, and the last ones. */
export function evaluatedRounds(rounds: number, last: number): ReadonlySet<number> {
  const every = Math.max(1, Math.ceil(rounds / CURVE_POINTS));
  return new Set(
    Array.from({ length: rounds }, (_, i) => i + 1).filter(
      (round) => round % every === 0 || round > rounds - last,
    ),
  );
}

export function configOf(cell: Cell, method: Method, tools: Work & Pick<CellTools, "model">): RunConfig {
  const { protocol, model } = tools;
  const { clients, adapter, batch, microBatch = batch, learningRate, localSteps } = protocol;
  const rounds = method.oneShot ? 1 : protocol.rounds;
  const perRound = method.oneShot ? clients : protocol.perRound;
  const steps = method.oneShot ? Math.ceil(allStepsOf(tools) / clients) : localSteps;
  return runConfig.parse({
    name: cellId(cell)
      .replaceAll(/[^A-Za-z0-9._-]+/g, "-")
      .slice(0, 64),
    model,
    adapter: {
      ...adapter,
      targets: [...adapter.targets, ...(method.train === "all" ? ENCODER_TARGETS : [])],
      train: method.train ?? "decoder",
    },
    rounds,
    seed: cell.seed,
    cohort: { perRound, quorum: perRound },
    training: {
      learning_rate: learningRate,
      ...(steps !== "epoch" && { max_steps: steps }),
      per_device_train_batch_size: microBatch,
      gradient_accumulation_steps: Math.ceil(batch / microBatch),
      ...protocol.training,
    },
    evaluation: { data: "-", every: 1, metrics: [] },
    diagnostics: false, // the report shows none
    ...method.run,
  });
}

async function trainAlone(
  cell: Cell,
  method: Method,
  shard: Shard,
  steps: number,
  tools: CellTools,
): Promise<Adapter> {
  const config = configOf(cell, method, tools);
  const adapter = await firstAdapter(tools.trainer, config);
  const options = { ...config.training, max_steps: steps };
  const { train } = shard.worded?.(promptOf(method)) ?? shard;
  const result = await tools.trainer.train({ adapter, options, seed: cellId(cell) }, train, {});
  return result.adapter;
}

const promptOf = (method: Method): PromptForm => method.run?.prompt ?? "standard";

async function evaluate(
  adapter: Adapter | undefined,
  method: Method,
  { dataset, trainer }: CellTools,
): Promise<Record<string, number>> {
  const examples = dataset.test(promptOf(method), method.keep);
  return dataset.score(examples, await predictions(trainer, adapter, examples));
}

/** As all cells are scored. */
export function predictions(
  trainer: Trainer,
  adapter: Adapter | undefined,
  examples: readonly Example[],
): Promise<Prediction[]> {
  const task = {
    adapter,
    maxNewTokens: ANSWER_TOKENS,
    batchSize: EVALUATION_BATCH,
    optionScore: "next",
  } as const;
  return trainer.predict(task, examples, {});
}

/** Longest answer of the medical sets in tokens, with room; classification chooses among options. */
const ANSWER_TOKENS = 8;
const EVALUATION_BATCH = 16;
/** What encoders and connectors call their layers where decoders say otherwise; a model needs one of all names. */
const ENCODER_TARGETS: readonly string[] = ["out_proj", "linear_1", "linear_2", "proj"];

function meanOf(all: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const names = [...new Set(all.flatMap(Object.keys))];
  return Object.fromEntries(
    names.map((name) => {
      const values = all.flatMap((metrics) => metrics[name] ?? []);
      return [name, values.reduce((sum, value) => sum + value, 0) / values.length];
    }),
  );
}
