/**
 * HetLoRA at the client: the last rows of A and columns of B are held near zero while it trains, and given up where
 * that made them smaller.
 *
 *   tail_m(A, B) = ||B[:, > γr]||_F ||A[> γr, :]||_F      r ← max(r_min, ⌊γ r⌋) where Σ_m tail_m fell
 *
 * Source: Cho et al. 2024, section 3.2, https://arxiv.org/abs/2401.06432
 */
import type { Adapter } from "../adapters/adapter.ts";
import { floats } from "../adapters/cast.ts";
import { atRank } from "../adapters/hand-out.ts";
import type { Tensor } from "../adapters/tensor.ts";
import { factorPairs } from "../adapters/tensor-names.ts";

/** The part of a factor that belongs to rows of A, or columns of B, from `first` on. */
export interface Tail {
  /** Positions in the factor's data, one row after the other. */
  readonly positions: Uint32Array;
}

/** @param keep γ: rows from ⌊γ r⌋ on are the tail */
export function tailOf(part: "A" | "B", shape: readonly number[], keep: number): Tail {
  const [rows, cols] = shape as [number, number]; // a factor has two axes
  const first = Math.floor(keep * (part === "A" ? rows : cols));
  const positions: number[] = [];
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) if ((part === "A" ? i : j) >= first) positions.push(i * cols + j);
  }
  return { positions: Uint32Array.from(positions) };
}

export function tailNorm({ positions }: Tail, data: ArrayLike<number>): number {
  let squares = 0;
  for (const at of positions) squares += data[at]! ** 2;
  return Math.sqrt(squares);
}

/**
 * @param before what was handed out, of the same rank or of a higher one
 * @returns `after` itself where its rank stays
 */
export function prunedRank(
  before: Adapter,
  after: Adapter,
  { keep, leastRank }: { readonly keep: number; readonly leastRank: number },
): Adapter {
  const { rank } = after.config;
  const next = Math.max(leastRank, Math.floor(keep * rank));
  if (next >= rank) return after;
  return tails(after, keep) < tails(atRank(before, rank), keep) ? atRank(after, next) : after;
}

function tails({ tensors }: Adapter, keep: number): number {
  const norm = (part: "A" | "B", { shape, ...factor }: Tensor) =>
    tailNorm(tailOf(part, shape, keep), floats({ shape, ...factor }));
  return factorPairs(tensors.keys()).reduce(
    (sum, { a, b }) => sum + norm("A", tensors.get(a)!) * norm("B", tensors.get(b)!),
    0,
  );
}
