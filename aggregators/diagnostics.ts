/**
 * What a round's updates tell about the run, whatever the strategy does with them: who moved how far, who pulls
 * against the others, and what averaging loses.
 *
 *   norm.<client>       ||d_k||, d_k = w_k − w; <client>#<draw> in asynchronous runs, where one may come twice
 *   cosine.<client>     cos(d_k, d̄), d̄ = mean_k d_k: negative for a client that pulls against the rest
 *   drift               √(mean_k ||d_k − d̄||²) / ||d̄||: 0 where all agree
 *   signConflict        mean over coordinates of min(k⁺, k⁻) / n, k± clients that moved it up or down: 0 to 1/2
 *   productError        error of the new factors against the mean of the clients' products (product-error.ts)
 *
 * The last two also for each module. All are made from sums over tensors, so that parts of the adapter can be
 * measured apart (in threads) and added up. Sign conflict: YOCO, NeurIPS 2025, section 3.
 */
import type { Adapter } from "../adapters/adapter.ts";
import { floats } from "../adapters/cast.ts";
import { sizeOf } from "../adapters/tensor.ts";
import { type FactorPair, parseName } from "../adapters/tensor-names.ts";
import { differenceOf } from "./differences.ts";
import { PART, partOf } from "./kernels.ts";
import { modulesOf } from "./modules.ts";
import { canSlice, type Floats, havingTensor } from "./parts.ts";
import { LONG_STACK, productErrors } from "./product-error.ts";
import type { AggregateResult, Updates } from "./strategy.ts";

/** Sums over some of an adapter's tensors. */
export interface Measured {
  /** ||d_k||² and ⟨d_k, d̄⟩ of each client. */
  readonly squared: readonly number[];
  readonly withMean: readonly number[];
  readonly meanSquared: number;
  /** By module: Σ min(k⁺, k⁻) / n and coordinates; squared error and squared size of the product. */
  readonly modules: Readonly<Record<string, ModuleSums>>;
}

interface ModuleSums {
  readonly conflict: number;
  readonly coordinates: number;
  readonly error: number;
  readonly size: number;
}

const NO_SUMS: ModuleSums = { conflict: 0, coordinates: 0, error: 0, size: 0 };

/** Multiplications that measuring product errors may cost a round, about a second of one thread. */
const PRODUCT_ERROR_BUDGET = 1e9;

/**
 * @param result of the round; the product error is measured on as many modules as the budget allows, evenly chosen,
 *   and left out for rules that put the rest into the base
 * @param part of the round that is measured here; its share of the budget
 */
export function measure(
  global: Adapter,
  { global: next, baseDelta }: Pick<AggregateResult, "global" | "baseDelta">,
  updates: Updates,
  part = 1,
): Measured {
  const n = updates.clients.length;
  const squared = new Array<number>(n).fill(0);
  const withMean = new Array<number>(n).fill(0);
  const modules: Record<string, ModuleSums> = {};
  let meanSquared = 0;
  for (const name of global.tensors.keys()) {
    const present = havingTensor(updates, name);
    let conflict = 0;
    eachPart(global, updates, present, name, (differences) => {
      const length = differences[0]!.length;
      for (let i = 0; i < length; i++) {
        let mean = 0;
        let up = 0;
        let down = 0;
        for (const difference of differences) {
          const d = difference[i]!;
          mean += d;
          if (d > 0) up++;
          else if (d < 0) down++;
        }
        mean /= differences.length;
        meanSquared += mean * mean;
        conflict += Math.min(up, down);
        for (let k = 0; k < differences.length; k++) {
          const d = differences[k]![i]!;
          squared[present[k]!]! += d * d;
          withMean[present[k]!]! += d * mean;
        }
      }
    });
    if (present.length === 0) continue;
    const module = parseName(name)?.module ?? name;
    const sums = modules[module] ?? NO_SUMS;
    const coordinates = sums.coordinates + sizeOf(global.tensors.get(name)!.shape);
    modules[module] = { ...sums, conflict: sums.conflict + conflict / present.length, coordinates };
  }
  const examples = updates.clients.map((info) => info.examples);
  const pairs = baseDelta === undefined ? affordable(global, n, PRODUCT_ERROR_BUDGET * part) : [];
  for (const [module, { error, size }] of productErrors(next, updates, examples, pairs)) {
    modules[module] = { ...(modules[module] ?? NO_SUMS), error, size };
  }
  return { squared, withMean, meanSquared, modules };
}

/** Every n-th module, so that Gram matrices of the clients' stacked factors stay within the budget. */
function affordable(global: Adapter, clients: number, budget: number): FactorPair[] {
  const { pairs } = modulesOf(global.tensors.keys());
  const cost = pairs.reduce((sum, { a, b }) => {
    const [rank, width] = global.tensors.get(a)!.shape as [number, number];
    const stacked = (clients + 2) * rank;
    const each = stacked >= LONG_STACK ? 1 / 4 : 2; // half of a symmetric product, in a quarter of the time
    return sum + each * stacked * stacked * (width + global.tensors.get(b)!.shape[0]!);
  }, 0);
  const every = Math.max(1, Math.ceil(cost / budget));
  return every > pairs.length ? [] : pairs.filter((_, at) => at % every === 0);
}

/** All of it at once, for updates that are at hand. */
export function diagnose(
  global: Adapter,
  result: Pick<AggregateResult, "global" | "baseDelta">,
  updates: Updates,
): Record<string, number> {
  return reportOf(updates.clients, [measure(global, result, updates)]);
}

/** The report's numbers from the sums of all parts. */
export function reportOf(updates: Updates["clients"], parts: readonly Measured[]): Record<string, number> {
  const sum = (pick: (part: Measured) => number) => parts.reduce((total, part) => total + pick(part), 0);
  const meanNorm = Math.sqrt(sum(({ meanSquared }) => meanSquared));
  const report: Record<string, number> = {};
  let spread = 0;
  for (const [k, { client: id, draw }] of updates.entries()) {
    const client = draw === undefined ? id : `${id}#${draw}`;
    const squared = sum((part) => part.squared[k]!);
    const withMean = sum((part) => part.withMean[k]!);
    const norm = Math.sqrt(squared);
    report[`norm.${client}`] = norm;
    if (norm > 0 && meanNorm > 0) report[`cosine.${client}`] = withMean / (norm * meanNorm);
    spread += Math.max(0, squared - 2 * withMean + meanNorm ** 2) / updates.length;
  }
  if (meanNorm > 0) report.drift = Math.sqrt(spread) / meanNorm;
  // A module's factors are measured together; a core or a saved weight of it may come from another part.
  const modules = new Map<string, ModuleSums>();
  for (const [module, sums] of parts.flatMap((part) => Object.entries(part.modules))) {
    modules.set(module, added(modules.get(module) ?? NO_SUMS, sums));
  }
  const whole = [...modules.values()].reduce(added, NO_SUMS);
  for (const [suffix, { conflict, coordinates, error, size }] of [["", whole] as const, ...named(modules)]) {
    if (coordinates > 0) report[`signConflict${suffix}`] = conflict / coordinates;
    if (size > 0) report[`productError${suffix}`] = Math.sqrt(error / size);
  }
  return report;
}

function added(total: ModuleSums, { conflict, coordinates, error, size }: ModuleSums): ModuleSums {
  return {
    conflict: total.conflict + conflict,
    coordinates: total.coordinates + coordinates,
    error: total.error + error,
    size: total.size + size,
  };
}

function named(modules: ReadonlyMap<string, ModuleSums>): (readonly [string, ModuleSums])[] {
  return [...modules].map(([module, sums]) => [`.${module}`, sums] as const);
}

/** The clients' differences from the global tensor, part by part where the files allow it. */
function eachPart(
  global: Adapter,
  updates: Updates,
  present: readonly number[],
  name: string,
  visit: (differences: readonly Floats[]) => void,
): void {
  if (present.length === 0) return;
  const old = global.tensors.get(name)!;
  const sameShape = present.every((k) => sizeOf(updates.shape(k, name)) === sizeOf(old.shape));
  if (!sameShape) return; // other ranks: there is no difference of factors
  if (updates.base !== undefined || !canSlice(updates, present, name)) {
    visit(present.map((k) => differenceOf(updates, k, name, old)!));
    return;
  }
  const size = sizeOf(old.shape);
  const before = floats(old);
  const part = Math.min(PART, partOf(present.length));
  const scratch = present.map(() => new Float32Array(Math.min(part, size)));
  const differences = present.map(() => new Float64Array(Math.min(part, size)));
  for (let from = 0; from < size; from += part) {
    const length = Math.min(part, size - from);
    for (const [at, k] of present.entries()) {
      const sent = scratch[at]!.subarray(0, length);
      updates.slice!(k, name, from, sent);
      const difference = differences[at]!;
      for (let i = 0; i < length; i++) difference[i] = sent[i]! - before[from + i]!;
    }
    visit(length === part ? differences : differences.map((difference) => difference.subarray(0, length)));
  }
}
