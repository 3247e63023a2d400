/**
 * Two rounds of every strategy with the real trainer on a tiny model: what a strategy plans reaches the gradient,
 * what it asks for comes back, and what comes back passes the check and is aggregated.
 */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Adapter } from "../../adapters/adapter.ts";
import { floats } from "../../adapters/cast.ts";
import { handOut } from "../../adapters/hand-out.ts";
import { stackOnBase } from "../../adapters/side-factors.ts";
import { type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { buildStrategy } from "../../aggregators/build.ts";
import { STRATEGIES } from "../../aggregators/index.ts";
import type { Spec } from "../../aggregators/options.ts";
import { aggregateUpdates, contextOf } from "../../aggregators/round.ts";
import type { AggregateResult, StrategyState } from "../../aggregators/strategy.ts";
import { checkUpdate } from "../../aggregators/update-check.ts";
import { collectUpdates, type UpdateEntry } from "../../aggregators/updates.ts";
import { trainingOptions } from "../../config/training.ts";
import type { Example } from "../../data/example.ts";
import { openOnnxTrainer } from "../../training/onnx-trainer.ts";
import type { Trainer } from "../../training/trainer.ts";
import { entry } from "./small.ts";

const MODEL = join(import.meta.dirname, "../golden/models/smolvlm-tiny");
/** Plain SGD, so that every term shows in the weights as it stands in the gradient. */
const optionsOf = (steps: number) =>
  trainingOptions.parse({
    max_steps: steps,
    learning_rate: 0.05,
    optim: "sgd",
    max_grad_norm: 0,
    per_device_train_batch_size: 2,
  });
/** Sessions are built anew for each rank, and the machine may be busy. */
const TIMEOUT_MS = 120_000;

/** Clients see different answers to the same questions: they must drift. */
const examplesOf = (client: number): Example[] =>
  Array.from({ length: 2 }, (_, i) => ({
    id: `c${client}e${i}`,
    turns: [
      { role: "user", content: `Say a color, number ${i}.` },
      { role: "assistant", content: ["red", "blue", "green"][client % 3]! },
    ],
    images: [],
    audios: [],
  }));

let trainer: Trainer;
let start: Adapter;
beforeAll(async () => {
  trainer = await openOnnxTrainer({ model: MODEL, threads: 1 });
  start = await trainer.createAdapter(
    {
      rank: 2,
      alpha: 4,
      rslora: false,
      dropout: 0,
      targets: ["q_proj", "v_proj"],
      rankPattern: {},
      alphaPattern: {},
      modulesToSave: [],
    },
    "1",
  );
}, TIMEOUT_MS);
afterAll(() => trainer.close());

interface Round extends AggregateResult {
  readonly updates: readonly UpdateEntry[];
  readonly losses: readonly number[];
}

/** One round from where `before` left off, by the strategy's own instructions. */
async function play(
  spec: Spec,
  before?: Round,
  { steps = 1, ranks = [] as readonly number[] } = {},
): Promise<Round> {
  const built = buildStrategy(spec);
  const global = before?.global ?? start;
  const state: StrategyState = before?.state ?? built.strategy.init(global);
  const round = before === undefined ? 1 : 2;
  const updates: UpdateEntry[] = [];
  const losses: number[] = [];
  for (let k = 0; k < Math.max(2, built.needs.minUpdates); k++) {
    const plan = built.strategy.plan?.(state, { round, client: `c${k}`, global }) ?? {};
    const rank = ranks[k] ?? global.config.rank;
    const { travels, corrections, ...terms } = plan;
    const base = before?.baseDelta?.tensors;
    const sets = { ...corrections, ...(base !== undefined && { base }) };
    const result = await trainer.train(
      {
        adapter: handOut(global, { rank, alpha: 2 * rank }),
        options: optionsOf(steps),
        seed: `${round} ${k}`,
        ...terms,
        corrections: sets,
      },
      examplesOf(k),
      {},
    );
    const pattern = new RegExp(travels ?? "");
    const kept = tensorSet([...result.adapter.tensors].filter(([name]) => pattern.test(name)));
    const only = (set: TensorSet) => tensorSet([...set].filter(([name]) => kept.has(name)));
    const info = {
      client: `c${k}`,
      examples: result.examples,
      steps: result.steps,
      tokens: result.tokens,
      touched: result.touched,
      metrics: { ...result.metrics },
      adapter: result.adapter.config,
    };
    const extras = Object.fromEntries(Object.entries(result.extras).map(([kind, set]) => [kind, only(set)]));
    const update = entry(info, kept, extras);
    checkUpdate({ global, needs: built.needs, travels, extras: plan.extras }, update);
    updates.push(update);
    losses.push(result.metrics.lossFirst);
  }
  const context = contextOf({ built, state, round, global, seed: 1, totalClients: updates.length });
  return { ...aggregateUpdates(built, state, context, collectUpdates(updates)), updates, losses };
}

function distance(update: UpdateEntry, from: TensorSet): number {
  let squared = 0;
  for (const name of update.tensors.names) {
    const before = floats(from.get(name)!);
    for (const [i, value] of floats(update.tensors.read(name)).entries())
      squared += (value - before[i]!) ** 2;
  }
  return Math.sqrt(squared);
}

/** Of absolute values. */
function sumOf(values: ArrayLike<number>): number {
  return Array.from(values).reduce((sum, value) => sum + Math.abs(value), 0);
}

const factors = STRATEGIES.filter(({ name }) => buildStrategy({ name }).needs.core !== true);

describe.each(factors.map(({ name }) => name))("%s", (name) => {
  test("runs its rounds and ends with a finite adapter that moved", { timeout: TIMEOUT_MS }, async () => {
    const { strategy, needs } = buildStrategy({ name });
    const first = await play({ name });
    // A second round tells something only where the first leaves something behind, or plans by the round.
    const isLasting = strategy.plan !== undefined || Object.keys(first.state.tensors).length > 0;
    const last = isLasting && needs.rounds !== 1 ? await play({ name }, first) : first;
    const moved =
      last.baseDelta === undefined ? last.global : stackOnBase(last.global, last.baseDelta.tensors);
    expect([...moved.tensors.values()].every((value) => floats(value).every(Number.isFinite))).toBe(true);
    const changed = [...last.global.tensors].filter(([tensor, value]) => value !== start.tensors.get(tensor));
    expect(changed.length).toBeGreaterThan(0);
  });
});

test("FedProx holds clients nearer to what they were handed", { timeout: TIMEOUT_MS }, async () => {
  const free = await play({ name: "fedavg" }, undefined, { steps: 3 });
  const held = await play({ name: "fedprox", mu: 5 }, undefined, { steps: 3 });
  for (const [k, update] of held.updates.entries()) {
    expect(distance(update, start.tensors)).toBeLessThan(distance(free.updates[k]!, start.tensors));
  }
});

test("SCAFFOLD's correction is c − c_k and moves each step by the learning rate times it", {
  timeout: TIMEOUT_MS,
}, async () => {
  const first = await play({ name: "scaffold" });
  const second = await play({ name: "scaffold" }, first);
  const plain = await play({ name: "fedavg" }, { ...first, state: { scalars: {}, tensors: {} } });
  // Of a B: while B is 0, A has no gradient.
  const name = second.updates[0]!.tensors.names.find((tensor) => tensor.includes("lora_B"))!;
  const sent = floats(second.updates[0]!.tensors.read(name));
  const control = floats(first.state.tensors.control!.get(name)!);
  const own = floats(first.state.tensors["client:c0"]!.get(name)!);
  let size = 0;
  for (const [i, value] of sent.entries()) {
    const shift = value - floats(plain.updates[0]!.tensors.read(name))[i]!;
    const wanted = -0.05 * (control[i]! - own[i]!); // one step of SGD
    expect(Math.abs(shift - wanted)).toBeLessThan(1e-6); // weights in float32
    size = Math.max(size, Math.abs(wanted));
  }
  expect(size).toBeGreaterThan(1e-4);
});

test("FFA-LoRA's clients give A back bit for bit, and it does not travel", {
  timeout: TIMEOUT_MS,
}, async () => {
  const { updates, global } = await play({ name: "ffa-lora" });
  expect(updates.every(({ tensors }) => tensors.names.every((name) => name.includes("lora_B")))).toBe(true);
  for (const [name, value] of start.tensors)
    if (name.includes("lora_A")) expect(global.tensors.get(name)).toBe(value);
});

test.each(["fisher", "fisher-running"])(
  "%s comes back with every tensor, and is not zero",
  { timeout: TIMEOUT_MS },
  async (estimate) => {
    const { updates } = await play({ name: "fisher", estimate });
    for (const { tensors, extras } of updates) {
      const total = tensors.names.reduce(
        (sum, name) => sum + sumOf(floats(extras![estimate]!.read(name))),
        0,
      );
      expect(total).toBeGreaterThan(0);
    }
  },
);

test("q-FedAvg's clients measure the received adapter before they train", {
  timeout: TIMEOUT_MS,
}, async () => {
  const { updates } = await play({ name: "qfedavg" });
  for (const { info } of updates) expect(info.metrics.lossBefore).toBeGreaterThan(0);
});

test("YOCO's sparsity term makes A smaller", { timeout: TIMEOUT_MS }, async () => {
  const size = ({ updates }: Round) =>
    updates.reduce((sum, { tensors }) => {
      const names = tensors.names.filter((name) => name.includes("lora_A"));
      return sum + names.reduce((total, name) => total + sumOf(floats(tensors.read(name))), 0);
    }, 0);
  const loose = await play({ name: "yoco", sparsity: 0, signWeight: 0 }, undefined, { steps: 3 });
  const sparse = await play({ name: "yoco", sparsity: 0.1, signWeight: 0 }, undefined, { steps: 3 });
  expect(size(sparse)).toBeLessThan(0.95 * size(loose));
});

test.each(["fedex-lora", "flora"])(
  "%s: round 2 starts where the mean of round 1 is, base included",
  { timeout: TIMEOUT_MS },
  async (name) => {
    const first = await play({ name });
    const over = await play({ name }, first);
    // The same adapter handed out whole, with nothing in the base.
    const whole = { ...first, global: stackOnBase(first.global, first.baseDelta!.tensors) };
    for (let k = 0; k < 2; k++) {
      const { metrics } = await trainer.train(
        { adapter: whole.global, options: optionsOf(1), seed: `2 ${k}` },
        examplesOf(k),
        {},
      );
      expect(over.losses[k]).toBeCloseTo(metrics.lossFirst, 4); // float32 forward passes
    }
  },
);

test("FlexLoRA aggregates clients of their own ranks and hands each its own", {
  timeout: TIMEOUT_MS,
}, async () => {
  const first = await play({ name: "flexlora" }, undefined, { ranks: [1, 2] });
  const second = await play({ name: "flexlora" }, first, { ranks: [1, 2] });
  expect(second.updates.map(({ info }) => info.adapter.rank)).toEqual([1, 2]);
});
