/**
 * Every case of the golden vectors for aggregation rules, through the same front door as a run: `buildStrategy`,
 * updates in order, state saved and loaded between rounds. GOLDEN_AGGREGATORS names another directory of the same
 * layout.
 */
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Adapter, type AdapterConfig, scaleOf } from "../../adapters/adapter.ts";
import { floats } from "../../adapters/cast.ts";
import { type Tensor, type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { factorName } from "../../adapters/tensor-names.ts";
import { buildStrategy } from "../../aggregators/build.ts";
import { handOut } from "../../adapters/hand-out.ts";
import { productErrors, relativeError } from "../../aggregators/product-error.ts";
import { aggregateUpdates, contextOf } from "../../aggregators/round.ts";
import { decodeState, encodeState } from "../../aggregators/state-file.ts";
import { variateOf } from "../../aggregators/strategies/scaffold.ts";
import type { StrategyState, UpdateInfo } from "../../aggregators/strategy.ts";
import { collectUpdates, type UpdateEntry } from "../../aggregators/updates.ts";
import { CONFIG, dense, entry } from "../aggregators/small.ts";
import { type Case, type Reading, type Round, readCases, readingOf } from "./aggregator-cases.ts";

const DIRECTORY = process.env.GOLDEN_AGGREGATORS ?? join(import.meta.dirname, "aggregators");

/** A float64 engine against float64 recomputed from Flower's float32 inputs (the README's tolerance). */
const FLOAT64_OF_FLOWER = { relative: 1e-6, absolute: 1e-6, ofLargest: 0 };
/** Against what Flower returned, in float32: √v + τ magnifies the rounding of adaptive rules. */
const FLOAT32_OF_FLOWER = { relative: 1e-4, absolute: 1e-4, ofLargest: 0 };
/** Times what the case says of its own float32 results: their state deviates about as much again (README). */
const TOLD_DEVIATION = 4;
/** Published formulas, float64 on both sides (the README's tolerance). */
const FORMULA = { relative: 1e-9, absolute: 0, ofLargest: 0 };
/** Times a tensor's largest entry: an entry near 0 is a sum of larger terms, rounded at their size. */
const ROUNDING = 1e-12;

const cases = readCases(DIRECTORY);
console.log(`${cases.length} golden cases for aggregation rules in ${DIRECTORY}`);

test("the directory holds cases", () => {
  expect(cases.length).toBeGreaterThan(0);
});

test.each(cases.filter(({ lora }) => lora === undefined))("$name", (golden) => {
  const checked = new Set<string>();
  runRounds(golden, readingOf(golden), checked);
  expect([...golden.expected.keys()].filter((key) => !checked.has(key))).toEqual([]);
});

test.each(cases.filter(({ lora }) => lora !== undefined))("$name", (golden) => {
  const checked = new Set<string>();
  runLora(golden, readingOf(golden), checked);
  expect([...golden.expected.keys()].filter((key) => !checked.has(key))).toEqual([]);
});

type Tolerance = typeof FORMULA;

function close(
  golden: Case,
  key: string,
  got: ArrayLike<number>,
  tolerance: Tolerance,
  checked: Set<string>,
): void {
  const wanted = floats(golden.expected.get(key)!);
  expect(got.length, key).toBe(wanted.length);
  const size = Math.max(...Array.from(wanted, Math.abs));
  for (let i = 0; i < wanted.length; i++) {
    const error = Math.abs(got[i]! - wanted[i]!);
    const { absolute, relative, ofLargest } = tolerance;
    const limit = absolute + relative * Math.abs(wanted[i]!) + (ROUNDING + ofLargest) * size;
    if (!(error <= limit)) {
      expect.fail(
        `${golden.name} ${key}[${i}]: wanted ${wanted[i]}, got ${got[i]} (off by ${error}, limit ${limit})`,
      );
    }
  }
  checked.add(key);
}

/** Members of a set below a prefix, the prefix taken off. */
function below(set: TensorSet, prefix: string): TensorSet {
  return tensorSet(
    [...set]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, value]) => [name.slice(prefix.length), value] as const),
  );
}

function runRounds(golden: Case, reading: Reading, checked: Set<string>): void {
  const flower = golden.name.startsWith("fl_");
  const recorded = { ...FLOAT32_OF_FLOWER, ofLargest: TOLD_DEVIATION * golden.float32Deviation };
  const built = buildStrategy(reading.strategy, reading.wrappers);
  let global: Adapter = { config: CONFIG, tensors: below(golden.inputs, "global.") };
  let state: StrategyState = built.strategy.init(global);
  for (const told of golden.perRound) {
    const entries = entriesOf(golden, told, reading);
    const counted = {
      ...built,
      needs: { ...built.needs, minUpdates: quorum(reading, golden, built.needs.minUpdates) },
    };
    const context = contextOf({
      built,
      state,
      round: told.round,
      global,
      seed: 1,
      totalClients: reading.totalClients ?? golden.clients,
    });
    const run = () => aggregateUpdates(counted, state, context, collectUpdates(entries));
    const prefix = `r${told.round}.`;
    checkSteps(golden, reading, told, context, entries, checked);
    if (told.aggregated === false) {
      expect(run, "a round with too few answers").toThrow(/at least/);
    } else {
      const result = run();
      global = result.global;
      state = decodeState(encodeState(result.state));
      checkSelection(told, result.report);
    }
    for (const [name, value] of global.tensors) {
      const tolerance = flower ? recorded : FORMULA;
      if (golden.expected.has(prefix + name)) close(golden, prefix + name, floats(value), tolerance, checked);
      const exact = `${prefix}f64.${name}`;
      if (golden.expected.has(exact)) close(golden, exact, floats(value), FLOAT64_OF_FLOWER, checked);
    }
    checkState(golden, reading, prefix, state, flower ? recorded : FORMULA, checked);
    const norm = told.clip_after ?? told.clipping_norm_after;
    if (norm !== undefined) expect(state.scalars["clip.norm"]! / norm).toBeCloseTo(1, flower ? 5 : 9);
  }
}

function quorum({ completion }: Reading, { clients }: Case, least: number): number {
  if (completion === undefined) return least;
  const counts = Array.from({ length: clients + 1 }, (_, count) => count);
  return Math.max(least, counts.find((count) => count / clients >= completion)!);
}

function entriesOf(golden: Case, told: Round, reading: Reading): UpdateEntry[] {
  const participants = told.participants ?? told.num_examples.map((_, k) => k);
  return participants.flatMap((client, at) => {
    if (told.failed_clients?.includes(client)) return [];
    const sent = below(golden.inputs, `r${told.round}.c${client}.`);
    const fisher = below(sent, "fisher.");
    const info: UpdateInfo = {
      client: clientName(client),
      examples: told.num_examples[at]!,
      steps: told.local_steps?.[at] ?? 1,
      touched: {},
      metrics: told.train_loss === undefined ? {} : { loss: told.train_loss[at]! },
      adapter: CONFIG,
      ...(told.staleness !== undefined && { staleness: told.staleness[at]! }),
    };
    const tensors = tensorSet([...sent].filter(([name]) => !name.startsWith("fisher.")));
    return [entry(info, tensors, reading.strategy.name === "fisher" ? { fisher } : {})];
  });
}

/** Padded, so that byte order is numeric order. */
function clientName(client: number): string {
  return `c${String(client).padStart(4, "0")}`;
}

function checkSelection(told: Round, report: Readonly<Record<string, number>>): void {
  const wanted = told.selected ?? told.selected_in_order;
  if (wanted === undefined) return;
  const got = Object.keys(report).filter((key) => key.startsWith("selected."));
  expect(got.sort()).toEqual(wanted.map((client) => `selected.${clientName(client)}`).sort());
}

function checkState(
  golden: Case,
  { states = {}, clientState }: Reading,
  prefix: string,
  state: StrategyState,
  tolerance: Tolerance,
  checked: Set<string>,
): void {
  const sets = new Set(
    [...below(golden.expected, `${prefix}state.`).keys()].map((key) => key.split(".")[0]!),
  );
  for (const set of sets) {
    const client = clientState?.exec(set)?.[1];
    const ours = client === undefined ? states[set] : variateOf(clientName(Number(client)));
    if (ours === undefined) throw new Error(`${golden.name}: unknown state "${set}"`);
    for (const name of below(golden.expected, `${prefix}state.${set}.`).keys()) {
      const sign = ours.startsWith("-") ? -1 : 1;
      const values = floats(state.tensors[ours.replace(/^-/, "")]!.get(name)!);
      close(
        golden,
        `${prefix}state.${set}.${name}`,
        Float64Array.from(values, (value) => sign * value),
        tolerance,
        checked,
      );
    }
  }
}

/** `r<round>.after<n>.<tensor>`: the same round with exactly n iterations. */
function checkSteps(
  golden: Case,
  { strategy }: Reading,
  told: Round,
  context: ReturnType<typeof contextOf>,
  entries: readonly UpdateEntry[],
  checked: Set<string>,
): void {
  for (const key of golden.expected.keys()) {
    const [, steps, name] = /^r\d+\.after(\d+)\.(.+)$/.exec(key) ?? [];
    if (steps === undefined || !key.startsWith(`r${told.round}.`)) continue;
    const stopped = buildStrategy({ ...strategy, iterations: Number(steps), tolerance: 0 });
    const result = aggregateUpdates(
      stopped,
      stopped.strategy.init(context.global),
      context,
      collectUpdates(entries),
    );
    close(golden, key, floats(result.global.tensors.get(name!)!), FORMULA, checked);
  }
}

function runLora(golden: Case, { strategy }: Reading, checked: Set<string>): void {
  const { ranks, scalings, examples, modules } = golden.lora!;
  // HetLoRA pads and averages the factors as they are: to us that is one scale for all.
  const plainFactors = strategy.name === "hetlora";
  const scaleFor = (k: number) => (plainFactors ? 1 : scalings[k]!);
  const configOf = (rank: number, scale: number): AdapterConfig => ({
    ...CONFIG,
    rank,
    alpha: scale * rank,
    targets: Object.keys(modules),
  });
  const paths = Object.keys(modules);
  const weights = strategy.weights === "uniform" ? examples.map(() => 1) : examples;
  const updates = collectUpdates(
    ranks.map((rank, k) => {
      const factors = paths.flatMap((path) =>
        (["lora_A", "lora_B"] as const).map(
          (part) => [factorName(path, part), golden.inputs.get(`c${k}.${path}.${part}.weight`)!] as const,
        ),
      );
      const info = {
        client: clientName(k),
        examples: examples[k]!,
        steps: 1,
        touched: {},
        metrics: {},
        adapter: configOf(rank, scaleFor(k)),
      };
      return entry(info, tensorSet(factors));
    }),
  );
  const run = (rank: number) => {
    const global = zeroAdapter(configOf(rank, scaleFor(ranks.indexOf(Math.max(...ranks)))), modules);
    const built = buildStrategy(strategy);
    const state = built.strategy.init(global);
    const context = contextOf({ built, state, round: 1, global, seed: 1, totalClients: ranks.length });
    return aggregateUpdates(built, state, context, updates);
  };
  const product = ({ config, tensors }: Adapter, path: string) =>
    dense(
      tensors.get(factorName(path, "lora_B"))!,
      tensors.get(factorName(path, "lora_A"))!,
      scaleOf(config, path),
    );
  const result = run(Math.max(...ranks));
  const side = (path: string) => product(result.baseDelta!, path);
  const plus = (x: ArrayLike<number>, y: ArrayLike<number>) => Array.from(x, (value, i) => value + y[i]!);
  for (const path of paths) {
    const factor = (part: "lora_A" | "lora_B") => floats(result.global.tensors.get(factorName(path, part))!);
    const base = floats(golden.inputs.get(`base.${path}.weight`)!);
    const [out, width] = modules[path]!;
    const exact = () => product(run(Math.min(out, width)).global, path);
    const mean = () =>
      meanProduct(
        golden,
        path,
        weights.map((weight) => weight / weights.reduce((sum, other) => sum + other, 0)),
      );
    for (const key of below(golden.expected, `${path}.`).keys()) {
      const [, rank, what] = /^rank(\d+)\.(.+)$/.exec(key) ?? [undefined, undefined, key];
      const handed = () => handOut(result.global, { rank: Number(rank), alpha: Number(rank) * scaleFor(0) });
      const check = (values: ArrayLike<number>) => close(golden, `${path}.${key}`, values, FORMULA, checked);
      if (rank !== undefined && what === "product") check(product(handed(), path));
      else if (rank !== undefined) check(floats(handed().tensors.get(factorName(path, what as "lora_A"))!));
      else if (what === "lora_A" || what === "lora_B") check(factor(what));
      else if (what === "delta_W") check(result.baseDelta === undefined ? exact() : side(path));
      else if (what === "singular_values") check(singularValues(run(Math.min(out, width)).global, path));
      else if (what === "merged" || what === "base_after") check(plus(base, side(path)));
      else if (what === "residual")
        check(side(path).map((value) => value / scaleOf(result.global.config, path)));
      else if (what === "effective") check(plus(plus(base, side(path)), product(result.global, path)));
      else if (what === "exact_mean_product") check(mean());
      else if (what === "relative_product_error") {
        check([relativeError([productErrors(result.global, updates, weights).get(path)!])]);
      } else if (what === "stacked_A" || what === "stacked_B") {
        checked.add(`${path}.${key}`); // where p and s sit is free (README): the product decides
      } else throw new Error(`${golden.name}: unknown expectation "${key}"`);
    }
  }
}

function zeroAdapter(
  config: AdapterConfig,
  modules: Readonly<Record<string, readonly [number, number]>>,
): Adapter {
  const zeros = (rows: number, cols: number): Tensor => ({
    dtype: "F64",
    shape: [rows, cols],
    data: new Float64Array(rows * cols),
  });
  const tensors = Object.entries(modules).flatMap(([path, [out, width]]) => [
    [factorName(path, "lora_A"), zeros(config.rank, width)] as const,
    [factorName(path, "lora_B"), zeros(out, config.rank)] as const,
  ]);
  return { config, tensors: tensorSet(tensors) };
}

/** Of an SVD-ordered product: the lengths of B's columns, times the scale. */
function singularValues({ config, tensors }: Adapter, path: string): number[] {
  const b = tensors.get(factorName(path, "lora_B"))!;
  const [rows, rank] = b.shape as [number, number];
  const values = floats(b);
  return Array.from(
    { length: rank },
    (_, j) =>
      scaleOf(config, path) * Math.hypot(...Array.from({ length: rows }, (__, i) => values[i * rank + j]!)),
  );
}

/** Σ p_k B_k A_k, dense: checks what the case's own numbers mean. */
function meanProduct(golden: Case, path: string, shares: readonly number[]): number[] {
  const products = shares.map((share, k) =>
    dense(
      golden.inputs.get(`c${k}.${path}.lora_B.weight`)!,
      golden.inputs.get(`c${k}.${path}.lora_A.weight`)!,
      share,
    ),
  );
  return products[0]!.map((_, i) => products.reduce((sum, product) => sum + product[i]!, 0));
}
