/** What `forward` gives of an output. */
import { type Tensor, tensor } from "../../adapters/tensor.ts";

/** Some rows of an output, [rows, V], whatever leading axes its rows have. */
export function rowsOf(output: Tensor, rows: Iterable<number>): Tensor {
  const wanted = [...rows];
  const width = output.shape.at(-1)!;
  const data = output.data as Float32Array; // an output is F32
  const picked = new Float32Array(wanted.length * width);
  wanted.forEach((row, i) => {
    picked.set(data.subarray(row * width, (row + 1) * width), i * width);
  });
  return tensor("F32", [wanted.length, width], picked);
}
