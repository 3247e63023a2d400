import { z } from "zod";
import type { Adapter } from "../../adapters/adapter.ts";
import { floats } from "../../adapters/cast.ts";
import { tensorSet } from "../../adapters/tensor.ts";
import { addScaled, differenceOf } from "../differences.ts";
import { defineStrategy, type Updates } from "../strategy.ts";
import { mapGlobal, stateTensor, stateValues } from "../weighted-mean.ts";
import { clipFactor } from "./norm-clipping.ts";

/**
 * Centered clipping: every change is clipped around last round's aggregate v, so that honest clients, who agree
 * with it, lose little, and an attacker gains at most τ.
 *
 *   v ← v + mean_k (d_k − v) min(1, τ/||d_k − v||), L times      w ← w + v      v kept between rounds, from 0
 *
 * Acts on the factors: in product space v would grow in rank with every round.
 *
 * Source: Karimireddy et al. 2021, Algorithm 2, https://arxiv.org/abs/2012.10333
 */
export const centeredClipping = defineStrategy({
  name: "centered-clipping",
  needs: {
    minUpdates: 1,
    readsSingleUpdates: true,
    space: "factors",
    separable: "adapter",
    quantizedBase: true,
  },
  config: z.strictObject({
    radius: z.number().positive().default(1).describe("τ, the longest step away from v"),
    iterations: z.int().positive().default(1).describe("L"),
  }),
  presets: { paper: {} },
  build: ({ radius, iterations }) => ({
    init: () => ({ scalars: {}, tensors: { v: new Map() } }),
    aggregate(state, { global }, updates) {
      const center = new Map(
        [...global.tensors].map(([name, old]) => [name, stateValues(state.tensors.v, name, old)]),
      );
      let clipped = 0;
      for (let step = 0; step < iterations; step++) {
        const factors = centeredNorms(updates, global, center).map((length) => clipFactor(length, radius));
        clipped = factors.filter((factor) => factor < 1).length;
        for (const [name, v] of center) {
          const before = v.slice();
          for (const [k, factor] of factors.entries()) {
            const difference = differenceOf(updates, k, name, global.tensors.get(name)!);
            if (difference === undefined) continue;
            addScaled(difference, before, -1);
            addScaled(v, difference, factor / factors.length);
          }
        }
      }
      const next = mapGlobal(global, updates, (name, old) => {
        const values = new Float64Array(floats(old));
        addScaled(values, center.get(name)!, 1);
        return values;
      });
      const v = tensorSet(
        [...center].map(([name, values]) => [name, stateTensor(global.tensors.get(name)!.shape, values)]),
      );
      return { state: { scalars: {}, tensors: { v } }, global: next, report: { clipped } };
    },
  }),
});

function centeredNorms(
  updates: Updates,
  global: Adapter,
  center: ReadonlyMap<string, Float64Array>,
): number[] {
  return updates.clients.map((_, k) => {
    let squared = 0;
    for (const [name, v] of center) {
      const difference = differenceOf(updates, k, name, global.tensors.get(name)!);
      if (difference === undefined) continue;
      for (let i = 0; i < v.length; i++) squared += (difference[i]! - v[i]!) ** 2;
    }
    return Math.sqrt(squared);
  });
}
