/** What `forward` gives of an output. */
import { type Tensor, tensor } from "../../adapters/tensor.ts";

/** The asked rows of an output that holds them in order (and some more), or of one that holds all rows. */
export function rowsOf(output: Tensor, rows: readonly number[], inOrder: boolean): Tensor {
  const width = output.shape.at(-1)!;
  const data = output.data as Float32Array;
  if (inOrder) return tensor(output.dtype, [rows.length, width], data.slice(0, rows.length * width));
  const picked = new Float32Array(rows.length * width);
  rows.forEach((row, i) => {
    picked.set(data.subarray(row * width, (row + 1) * width), i * width);
  });
  return tensor("F32", [rows.length, width], picked);
}
