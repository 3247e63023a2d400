/** Small dense matrices of float64 in row-major order, summed in a fixed order: equal inputs give equal bits. */
import { type FloatDType, floatTensor, toFloat64 } from "./cast.ts";
import type { Tensor } from "./tensor.ts";

export interface Matrix {
  readonly rows: number;
  readonly cols: number;
  readonly data: Float64Array;
}

/** @throws TypeError unless data has rows x cols entries */
export function matrix(
  rows: number,
  cols: number,
  data: ArrayLike<number> = new Float64Array(rows * cols),
): Matrix {
  if (data.length !== rows * cols)
    throw new TypeError(`${rows} x ${cols} entries wanted, got ${data.length}`);
  return { rows, cols, data: data instanceof Float64Array ? data : Float64Array.from(data) };
}

/** @throws TypeError unless the tensor has two axes and holds floats */
export function matrixOf(tensor: Tensor): Matrix {
  const [rows, cols] = tensor.shape;
  if (rows === undefined || cols === undefined || tensor.shape.length !== 2) {
    throw new TypeError(`A matrix has two axes, got [${tensor.shape.join(", ")}]`);
  }
  return { rows, cols, data: toFloat64(tensor) };
}

export function tensorOf({ rows, cols, data }: Matrix, dtype: FloatDType): Tensor {
  return floatTensor(dtype, [rows, cols], data);
}

export function transpose({ rows, cols, data }: Matrix): Matrix {
  const out = new Float64Array(data.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) out[j * rows + i] = data[i * cols + j]!;
  return { rows: cols, cols: rows, data: out };
}

/** x · y */
export function multiply(x: Matrix, y: Matrix): Matrix {
  requireEqual(x.cols, y.rows);
  const out = new Float64Array(x.rows * y.cols);
  for (let i = 0; i < x.rows; i++) {
    for (let k = 0; k < x.cols; k++) {
      const factor = x.data[i * x.cols + k]!;
      if (factor === 0) continue;
      for (let j = 0; j < y.cols; j++) out[i * y.cols + j]! += factor * y.data[k * y.cols + j]!;
    }
  }
  return { rows: x.rows, cols: y.cols, data: out };
}

/** x · yᵀ */
export function multiplyTransposed(x: Matrix, y: Matrix): Matrix {
  requireEqual(x.cols, y.cols);
  const out = new Float64Array(x.rows * y.rows);
  for (let i = 0; i < x.rows; i++) {
    for (let j = 0; j < y.rows; j++) {
      let sum = 0;
      for (let k = 0; k < x.cols; k++) sum += x.data[i * x.cols + k]! * y.data[j * y.cols + k]!;
      out[i * y.rows + j] = sum;
    }
  }
  return { rows: x.rows, cols: y.rows, data: out };
}

/** xᵀ · y */
export function transposeMultiply(x: Matrix, y: Matrix): Matrix {
  requireEqual(x.rows, y.rows);
  const out = new Float64Array(x.cols * y.cols);
  for (let k = 0; k < x.rows; k++) {
    for (let i = 0; i < x.cols; i++) {
      const factor = x.data[k * x.cols + i]!;
      for (let j = 0; j < y.cols; j++) out[i * y.cols + j]! += factor * y.data[k * y.cols + j]!;
    }
  }
  return { rows: x.cols, cols: y.cols, data: out };
}

export function scale({ rows, cols, data }: Matrix, factor: number): Matrix {
  return { rows, cols, data: data.map((value) => factor * value) };
}

export function frobenius({ data }: Matrix): number {
  let sum = 0;
  for (const value of data) sum += value * value;
  return Math.sqrt(sum);
}

function requireEqual(inner: number, other: number): void {
  if (inner !== other) throw new TypeError(`Cannot multiply matrices: inner sizes are ${inner} and ${other}`);
}
