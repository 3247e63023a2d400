/** The modules of an adapter as rules in product space see them: s·B·A with s from each client's own configuration. */
import { type AdapterConfig, scaleOf } from "../adapters/adapter.ts";
import { type Factors, productDot, stackedNorm, stackFactors } from "../adapters/lora-algebra.ts";
import { type Matrix, matrixOf } from "../adapters/matrix.ts";
import type { Tensor } from "../adapters/tensor.ts";
import { type FactorPair, factorPairs } from "../adapters/tensor-names.ts";
import type { Updates } from "./strategy.ts";

export interface Modules {
  readonly pairs: readonly FactorPair[];
  /** Names that belong to no pair: saved modules, biases, lone factors. */
  readonly others: readonly string[];
}

export function modulesOf(names: Iterable<string>): Modules {
  const all = [...names];
  const pairs = factorPairs(all);
  const paired = new Set(pairs.flatMap(({ a, b }) => [a, b]));
  return { pairs, others: all.filter((name) => !paired.has(name)) };
}

export interface ScaledFactors {
  readonly factors: Factors;
  readonly scale: number;
}

/** A client's factors of a module with its scale; undefined where it lacks one of them. */
export function moduleFactors(updates: Updates, client: number, pair: FactorPair): ScaledFactors | undefined {
  const a = updates.tensor(client, pair.a);
  const b = updates.tensor(client, pair.b);
  if (a === undefined || b === undefined) return undefined;
  return scaledFactors(updates.clients[client]!.adapter, pair, a, b);
}

export function scaledFactors(config: AdapterConfig, pair: FactorPair, a: Tensor, b: Tensor): ScaledFactors {
  return { factors: { a: matrixOf(a), b: matrixOf(b) }, scale: scaleOf(config, pair.module) };
}

/** s_x X − s_y Y as one product. Where ranks agree the small differences are taken of the factors, before any product. */
export function productDifference(x: ScaledFactors, y: ScaledFactors): Factors {
  const sameRank = x.factors.a.rows === y.factors.a.rows;
  if (!sameRank || x.scale !== y.scale) return stackFactors([x.factors, y.factors], [x.scale, -y.scale]);
  const left = { b: minus(x.factors.b, y.factors.b), a: x.factors.a };
  const right = { b: y.factors.b, a: minus(x.factors.a, y.factors.a) };
  return stackFactors([left, right], [x.scale, x.scale]);
}

/** ||s_x X − s_y Y||² by Gram traces; by QR where the stack's terms nearly cancel. */
export function squaredProductDistance(x: ScaledFactors, y: ScaledFactors): number {
  const difference = productDifference(x, y);
  const sameRank = x.factors.a.rows === y.factors.a.rows && x.scale === y.scale;
  return sameRank ? Math.max(0, productDot(difference, difference)) : stackedNorm(difference) ** 2;
}

export function minus(x: Matrix, y: Matrix): Matrix {
  return { ...x, data: x.data.map((value, i) => value - y.data[i]!) };
}
