/** Dropout masks from a seed; the seed's generator hashes with node:crypto, so they are made at the edge. */
import { sizeOf, type Tensor, tensor } from "../../../adapters/tensor.ts";
import { createRng } from "../../../base/rng.ts";

/**
 * A mask of 0 and 1, the same for the same seed and name.
 *
 * @param keep probability of 1, in steps of 1/65536: two elements share a draw of 32 bits
 */
export function dropoutMask(seed: string, name: string, shape: readonly number[], keep: number): Tensor {
  const rng = createRng(seed).fork(name);
  const limit = Math.round(keep * 0x10000);
  const data = new Uint8Array(sizeOf(shape));
  for (let i = 0; i < data.length; i += 2) {
    const bits = rng.uint32();
    data[i] = (bits & 0xffff) < limit ? 1 : 0;
    if (i + 1 < data.length) data[i + 1] = bits >>> 16 < limit ? 1 : 0;
  }
  return tensor("U8", shape, data);
}
