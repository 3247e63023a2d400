import { z } from "zod";
import { floats } from "../../adapters/cast.ts";
import { defineWrapper } from "../strategy.ts";
import { like } from "../weighted-mean.ts";
import { refuseBaseChange } from "./base-change.ts";

/**
 * Adds Gaussian noise to every value of the new global adapter that the round changed.
 *
 *   w ← w + N(0, std²)
 *
 * The standard deviation is per coordinate and absolute. This alone promises no privacy: for that the changes must
 * be clipped and the noise must follow from the clip norm, which is what the clip wrapper's noiseMultiplier does.
 */
export const noise = defineWrapper({
  name: "noise",
  needs: (inner) => {
    refuseBaseChange("noise", inner);
    return inner;
  },
  config: z.strictObject({
    std: z.number().min(0).describe("standard deviation of the noise on each value"),
  }),
  wrap:
    ({ std }) =>
    (inner) => ({
      ...inner,
      aggregate(state, context, updates) {
        const result = inner.aggregate(state, context, updates);
        const tensors = new Map(result.global.tensors);
        for (const [name, value] of tensors) {
          if (std === 0 || value === context.global.tensors.get(name)) continue;
          const rng = context.rng.fork("noise", name);
          tensors.set(
            name,
            like(
              value,
              Float64Array.from(floats(value), (x) => x + std * rng.normal()),
            ),
          );
        }
        return { ...result, global: { ...result.global, tensors } };
      },
    }),
});
