/**
 * The leading right singular vectors v = Aᵀ x of a product B·A with many inner rows and columns, found in x alone:
 *
 *   x → G_B G_A x is symmetric in the inner product ⟨x, y⟩ = xᵀ G_A y, its eigenvalues are σ²      G_A = A Aᵀ, G_B = Bᵀ B
 *
 * A block Krylov space of it, orthogonal in that product, holds them after few steps; the block is wider than the rank, so
 * that equal singular values are found as often as they occur. Where they lie close together the space would grow long:
 * it is then begun anew from the best that it holds and goes on with what it was about to take in (thick restart), and
 * the Gram matrices, which cost as much as some hundred products with the factors, are made once.
 *
 * Sources: Golub, Luk and Overton 1981 (block Lanczos for singular values), https://doi.org/10.1145/355945.355946;
 * Wu and Simon 2000 (thick restart), https://doi.org/10.1137/S0895479898334605
 */
import { EigenvalueDecomposition } from "ml-matrix";
import { createRng } from "../base/rng.ts";
import type { RowSpace, Rows } from "./rows.ts";

/** Further vectors of a block beyond the rank: they hasten the last ones wanted. */
const OVERSAMPLING = 8;
/** Vectors of the space before it is begun anew: its own eigenvalue problem grows with their third power. */
const MOST_VECTORS = 384;
/** Fewer blocks than this would be begun anew all the time. */
const LEAST_BLOCKS = 4;
/** Blocks that are tried before the space is given up. */
const MOST_STEPS = 400;
/** Angle between what is found and the space wanted: ||G_B G_A x − σ² x|| over the distance to the first σ² left out. */
const ANGLE = 1e-13;
/** What rounding leaves of it, as a share of the largest σ². */
const FLOOR = 4e-15;
/** A first residual above this share of the largest σ² tells that many more steps will follow. */
const FAR = 1e-6;
/** Least σ² wanted, as a share of the largest: beyond it the squares' rounding shows. */
const LEAST_SHARE = 1e-10;
/** Vectors that are given up as combinations of the others. */
const DEPENDENT = 1e-22;
/** Of ⟨w, w⟩, as a share of what A and w could make it: below it w is a combination of rows that A has several times. */
const NOTHING = 1e-13;
/** A square that lost more than this to subtraction is made anew. */
const CANCELLED = 1e-6;

/**
 * @param a rows of A, and b: columns of B
 * @returns G_A x of the leading x, one row each, from `space`; undefined where squares are not exact enough, the steps do
 *   not suffice or too many vectors are wanted
 */
export function leadingSpace(space: RowSpace, a: Rows, b: Rows, rank: number): Rows | undefined {
  const { rows, inner, addCombinations } = space;
  const size = a.count;
  const block = Math.min(size, 4 * Math.ceil((rank + OVERSAMPLING) / 4));
  const most = block * Math.floor(MOST_VECTORS / block);
  if (most < LEAST_BLOCKS * block) return undefined;
  const byA = gramOperator(space, a, block);
  const byB = gramOperator(space, b, block);
  const vectors = rows(most, size);
  const products = rows(most, size); // G_A of them
  const work = rows(block, size);
  const images = rows(block, size);
  const single = rows(1, size);
  const shares = rows(block, most);
  const kept = rows(block, size);
  let sizeOfA = 0;
  for (let i = 0; i < size; i++) sizeOfA += dot(a.row(i), a.row(i));
  let count = 0;
  /** Of the vectors that the operator was applied to: coefficients of what came out. */
  let columns: Float64Array[] = [];

  const subtractOld = (from: number, of: Float64Array, w: Float64Array, z?: Float64Array): void => {
    for (let j = from; j < count; j++) {
      const step = dot(products.row(j), w);
      of[j]! += step;
      subtract(w, step, vectors.row(j));
      if (z !== undefined) subtract(z, step, products.row(j));
    }
  };
  /** Takes what is new in the first rows of `work` into the space. @returns the coefficients of each in it */
  const extend = (some: number): Float64Array[] => {
    const before = count;
    const found = Array.from({ length: some }, () => new Float64Array(before + some));
    const fresh = work.part(0, some);
    for (let pass = 0; pass < 2 && before > 0; pass++) {
      inner(fresh, products.part(0, before), shares);
      addCombinations(shares, vectors.part(0, before), fresh, -1);
      for (const [i, of] of found.entries()) {
        const taken = shares.row(i);
        for (let j = 0; j < before; j++) of[j]! += taken[j]!;
      }
    }
    byA.apply(fresh, images);
    for (const [i, of] of found.entries()) {
      const whole = dot(work.row(i), images.row(i));
      for (let pass = 0; pass < 2; pass++) subtractOld(before, of, work.row(i), images.row(i));
      let squared = dot(work.row(i), images.row(i));
      if (!(squared > CANCELLED * whole)) {
        for (let pass = 0; pass < 2; pass++) subtractOld(0, of, work.row(i));
        byA.apply(work.part(i, 1), single);
        images.row(i).set(single.row(0));
        squared = dot(work.row(i), images.row(i));
      }
      const possible = sizeOfA * dot(work.row(i), work.row(i));
      if (!(squared > DEPENDENT * (squared + dot(of, of)) && squared > NOTHING * possible)) continue;
      const norm = Math.sqrt(squared);
      of[count] = norm;
      setScaled(vectors.row(count), work.row(i), 1 / norm);
      setScaled(products.row(count), images.row(i), 1 / norm);
      count++;
    }
    return found;
  };
  /** The combinations of `set` by these weights, instead of what was there. */
  const turned = (set: Rows, into: Rows, weights: readonly Float64Array[]): Rows => {
    for (const [k, row] of weights.entries()) {
      shares.row(k).set(row);
      into.row(k).fill(0);
    }
    const some = into.part(0, weights.length);
    addCombinations(shares, set.part(0, columns.length), some);
    return some;
  };
  const beginAnew = ({ values, vectors: weights, couplings }: Ritz): void => {
    const keep = weights.length;
    const pending = count - columns.length;
    for (const set of [vectors, products]) {
      const best = turned(set, kept, weights);
      for (let k = 0; k < keep; k++) set.row(k).set(best.row(k));
      for (let k = 0; k < pending; k++) set.row(keep + k).set(set.row(columns.length + k));
    }
    columns = Array.from({ length: keep }, (_, k) => {
      const column = new Float64Array(keep + pending);
      column[k] = values[k]!;
      column.set(couplings[k]!, keep);
      return column;
    });
    count = keep + pending;
  };

  const rng = createRng("leading-space");
  for (let k = 0; k < block; k++) {
    const row = work.row(k);
    for (let i = 0; i < size; i++) row[i] = rng.normal();
  }
  extend(block);
  let check = 2 * block;
  for (let step = 0; columns.length < count && step < MOST_STEPS; step++) {
    const some = Math.min(block, count - columns.length);
    byB.apply(products.part(columns.length, some), work);
    const found = extend(some);
    if (!found.every((column) => column.every(Number.isFinite))) return undefined; // squares beyond float64
    columns.push(...found);
    const isDone = columns.length === count;
    const isFull = count + block > most;
    if (!isDone && !isFull && columns.length < check) continue;
    check = Math.ceil(1.5 * columns.length);
    const ritz = ritzOf(columns, count, block);
    const { values, residuals } = ritz;
    if (values.length < rank) return undefined;
    const largest = values[0]!;
    const limit = (k: number) => Math.max(FLOOR * largest, ANGLE * (values[k]! - (values[rank] ?? 0)));
    const isFound = residuals.slice(0, rank).every((residual, k) => residual <= limit(k));
    if (isDone || isFound) {
      if (!(values[rank - 1]! > LEAST_SHARE * largest)) return undefined;
      return turned(products, rows(rank, size), ritz.vectors.slice(0, rank));
    }
    if (residuals[rank - 1]! > FAR * largest && 2 * size <= a.length + b.length) {
      byA.condense();
      byB.condense();
    }
    if (isFull) {
      beginAnew(ritz);
      check = 2 * columns.length;
    }
  }
  return undefined;
}

/** x → X Xᵀ x, for up to `most` x at once. */
function gramOperator({ rows, inner, gram, addCombinations }: RowSpace, x: Rows, most: number) {
  const through = rows(most, x.length);
  let dense: Rows | undefined;
  return {
    apply(vectors: Rows, into: Rows): void {
      if (dense !== undefined) {
        inner(vectors, dense, into);
        return;
      }
      const middle = through.part(0, vectors.count);
      for (let k = 0; k < vectors.count; k++) middle.row(k).fill(0);
      addCombinations(vectors, x, middle);
      inner(middle, x, into);
    },
    /** Makes X Xᵀ itself. */
    condense(): void {
      if (dense !== undefined) return;
      dense = rows(x.count, x.count);
      gram(x, dense);
    },
  };
}

interface Ritz {
  /** Descending. */
  readonly values: readonly number[];
  /** Of the first ones, as coefficients over the space. */
  readonly vectors: readonly Float64Array[];
  /** Of the operator's result on each of these with the vectors it was not yet applied to, and their length. */
  readonly couplings: readonly Float64Array[];
  readonly residuals: readonly number[];
}

/** Eigenvalues of the operator within the space, the largest first, and the vectors of the first `wanted`. */
function ritzOf(columns: readonly Float64Array[], count: number, wanted: number): Ritz {
  const size = columns.length;
  const entry = (i: number, j: number) => columns[j]![i] ?? 0;
  const square = Array.from({ length: size }, (_, i) =>
    Array.from({ length: size }, (__, j) => (entry(i, j) + entry(j, i)) / 2),
  );
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(square, {
    assumeSymmetric: true,
  });
  const order = realEigenvalues.map((_, k) => k).sort((i, j) => realEigenvalues[j]! - realEigenvalues[i]!);
  const vectors = order.slice(0, wanted).map((k) => {
    const weights = new Float64Array(size);
    for (let j = 0; j < size; j++) weights[j] = eigenvectorMatrix.get(j, k);
    return weights;
  });
  const couplings = vectors.map((weights) => {
    const coupling = new Float64Array(count - size);
    for (let j = 0; j < size; j++) {
      for (let p = 0; p < coupling.length; p++) coupling[p]! += weights[j]! * entry(size + p, j);
    }
    return coupling;
  });
  return {
    values: order.map((k) => realEigenvalues[k]!),
    vectors,
    couplings,
    residuals: couplings.map((coupling) => Math.sqrt(dot(coupling, coupling))),
  };
}

function dot(x: Float64Array, y: Float64Array): number {
  let total = 0;
  for (let i = 0; i < x.length; i++) total += x[i]! * y[i]!;
  return total;
}

/** x −= factor · y */
function subtract(x: Float64Array, factor: number, y: Float64Array): void {
  for (let i = 0; i < x.length; i++) x[i] = x[i]! - factor * y[i]!;
}

function setScaled(x: Float64Array, y: Float64Array, factor: number): void {
  for (let i = 0; i < x.length; i++) x[i] = factor * y[i]!;
}
