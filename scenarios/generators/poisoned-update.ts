/** What a poisoned client sends in place of its honest adapter, for tests of robust rules. */

import { float32, type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import type { Rng } from "../../base/rng.ts";
import type { Poison } from "./fleet-traits.ts";

/**
 * With d the client's honest change of the handed-out adapter: sign-flip sends global − strength·d, scale sends
 * global + strength·d, noise sends global + strength·‖d‖·z/‖z‖ with z standard normal, tensor by tensor. A label-flipper's
 * update is sent as it is: its harm is in its data.
 *
 * Source: Blanchard et al. 2017, https://arxiv.org/abs/1703.02757; Bagdasaryan et al. 2020, https://arxiv.org/abs/1807.00459
 *
 * @throws TypeError for tensors that are not F32
 */
export function poisonedUpdate(
  kind: Poison,
  handedOut: TensorSet,
  honest: TensorSet,
  strength: number,
  rng: Rng,
): TensorSet {
  if (kind === "label-flip") return honest;
  const entries = [...honest].map(([name, own]) => {
    const global = handedOut.get(name);
    if (!(own.data instanceof Float32Array) || !(global?.data instanceof Float32Array)) {
      throw new TypeError(`A poisoned update is made of F32 tensors, got "${name}" otherwise`);
    }
    const [from, to] = [global.data, own.data];
    const change = Float64Array.from(to, (value, i) => value - from[i]!);
    const sent = kind === "noise" ? noiseLike(change, rng.fork(name)) : change;
    const factor = kind === "sign-flip" ? -strength : strength;
    return [
      name,
      float32(
        own.shape,
        Float32Array.from(sent, (value, i) => from[i]! + factor * value),
      ),
    ] as const;
  });
  return tensorSet(entries);
}

/** A random direction with the length of `change`. */
function noiseLike(change: Float64Array, rng: Rng): Float64Array {
  const direction = Float64Array.from(change, () => rng.normal());
  const length = (values: Float64Array): number =>
    Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  const factor = length(change) / (length(direction) || 1);
  return direction.map((value) => value * factor);
}
