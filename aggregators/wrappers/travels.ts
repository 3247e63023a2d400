import { z } from "zod";
import { onlyTensors } from "../selection.ts";
import { defineWrapper } from "../strategy.ts";

export const patternOption = z.string().refine(
  (text) => {
    try {
      new RegExp(text);
      return true;
    } catch {
      return false;
    }
  },
  { message: "must be a regular expression" },
);

/**
 * Which tensors leave a client. What does not travel stays the client's own: its personal part, kept in its own
 * state and evaluated there. `\.lora_A` alone is FedSA-LoRA's choice, a connector's path the reverse of one.
 *
 * Source: the common form of FedSA-LoRA (2410.01463), FedDPA (2403.19211) and pFedMMA (2507.05394)
 */
export const travels = defineWrapper({
  name: "travels",
  config: z.strictObject({
    tensors: patternOption.describe("a regular expression over the names of tensors that travel"),
  }),
  wrap:
    ({ tensors }) =>
    (inner) => {
      const pattern = new RegExp(tensors);
      return {
        ...inner,
        plan(state, context) {
          const instructions = inner.plan?.(state, context) ?? {};
          const both =
            instructions.travels === undefined
              ? tensors
              : `^(?=.*(?:${instructions.travels}))(?=.*(?:${tensors}))`;
          return { ...instructions, travels: both };
        },
        aggregate: (state, context, updates) =>
          inner.aggregate(
            state,
            context,
            onlyTensors(updates, (name) => pattern.test(name)),
          ),
      };
    },
});
