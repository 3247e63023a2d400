/**
 * An adapter that starts from the base's own weights: YOCO's one round needs clients whose B begin at the same place,
 * with signs that mean something.
 *
 *   W = U S Vᵀ      svd     B = U_r √S_r    A = √S_r V_rᵀ      the paper
 *                   svd-b   B = U_r √S_r    A stays random      the published code
 *
 * Neither takes s·B·A off the base again, as the code does not: the model begins changed. The leading r are found by
 * subspace iteration, which reads W and never factorizes it. Signs are fixed as `truncate` fixes them.
 *
 * Source: YOCO, NeurIPS 2025, section 4, https://openreview.net/forum?id=FoVF3iL6o3, and its code; iteration: Golub and
 * Van Loan, Matrix Computations, 4th ed., section 8.2.4
 */
import type { Adapter } from "../adapters/adapter.ts";
import { floats } from "../adapters/cast.ts";
import { type Truncated, truncate } from "../adapters/lora-algebra.ts";
import { type Matrix, matrix, multiply, multiplyTransposed, transpose } from "../adapters/matrix.ts";
import { qrOfTranspose } from "../adapters/qr.ts";
import { float32, tensor } from "../adapters/tensor.ts";
import { factorPairs } from "../adapters/tensor-names.ts";
import { FedloomError, messageOf } from "../base/errors.ts";
import { createRng } from "../base/rng.ts";
import type { FindPlaces, Place } from "./merge/places.ts";
import { valuesOf } from "./onnx/weight.ts";

export type SingularInit = "svd" | "svd-b";

/** Vectors beyond the rank: they hasten the last ones wanted. */
const OVERSAMPLING = 8;
/** Singular values have settled when none moves by more than this share of the largest; vectors by its root then. */
const SETTLED = 1e-13;
/** Of a weight whose r-th and (r + 9)-th singular value are nearly alike; what is left is then as good a choice. */
const MOST_STEPS = 300;

/** @throws FedloomError F2113 for a weight that no graph has, or has in a form that cannot be read */
export function singularStart(adapter: Adapter, find: FindPlaces, init: SingularInit): Adapter {
  const tensors = new Map(adapter.tensors);
  for (const { module, a, b } of factorPairs(adapter.tensors.keys())) {
    const rank = adapter.tensors.get(a)!.shape[0]!;
    const { a: vt, b: us, singularValues } = leadingOf(weightOf(find, module, b), rank);
    const root = singularValues.map(Math.sqrt);
    const left = us.data.map((value, i) => (root[i % rank] === 0 ? 0 : value / root[i % rank]!));
    tensors.set(b, float32([us.rows, rank], Float32Array.from(left)));
    if (init === "svd-b") continue;
    const right = vt.data.map((value, i) => value * root[Math.floor(i / vt.cols)]!);
    tensors.set(a, float32([rank, vt.cols], Float32Array.from(right)));
  }
  return { ...adapter, tensors };
}

function weightOf(find: FindPlaces, module: string, name: string): Matrix {
  const cannot = (why: string, cause?: unknown): FedloomError =>
    new FedloomError(
      "F2113",
      `Cannot start an adapter from the weights of "${module}": ${why}`,
      { module },
      cause === undefined ? undefined : { cause },
    );
  let place: Place | undefined;
  try {
    place = find(name)[0];
  } catch (cause) {
    throw cannot(messageOf(cause), cause);
  }
  if (place === undefined) throw cannot("no graph has them");
  const { type, shape } = place.weight;
  if (type === "U4" || type === "I4") throw cannot(`floats are wanted, got ${type}`);
  const values = floats(tensor(type, shape, valuesOf(place.weight)));
  const { rows, columns, start, rowStep, columnStep } = place;
  const weight = matrix(rows, columns);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      weight.data[i * columns + j] = values[start + i * rowStep + j * columnStep]!;
    }
  }
  return weight;
}

/** The best approximation of a dense matrix, in the form that `truncate` gives. */
export function leadingOf(weight: Matrix, rank: number): Truncated {
  const width = Math.min(weight.rows, weight.cols, rank + OVERSAMPLING);
  const rng = createRng("singular-init");
  let rows = matrix(
    width,
    weight.cols,
    Float64Array.from({ length: width * weight.cols }, () => rng.normal()),
  );
  let before: Float64Array = new Float64Array(rank);
  for (let step = 1; ; step++) {
    const images = orthonormal(multiplyTransposed(rows, weight)); // rows of (W Xᵀ)ᵀ
    const inside = multiply(images, weight);
    const found = truncate({ b: transpose(images), a: inside }, rank);
    const moved = found.singularValues.map((value, k) => Math.abs(value - before[k]!));
    if (Math.max(...moved) <= SETTLED * found.singularValues[0]! || step === MOST_STEPS) return found;
    before = found.singularValues;
    rows = orthonormal(inside);
  }
}

/** Rows that span the same, at right angles and of length 1. */
function orthonormal(x: Matrix): Matrix {
  const identity = matrix(x.rows, x.rows);
  for (let i = 0; i < x.rows; i++) identity.data[i * x.rows + i] = 1;
  return transpose(qrOfTranspose(x).apply(identity));
}
