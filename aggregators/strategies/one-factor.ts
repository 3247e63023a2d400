/**
 * What FFA-LoRA, RoLoRA, FedSA-LoRA and Fed-SB share: a part of the adapter stays as it is, the rest is averaged.
 * A product with one common factor is linear in the other, so its average is exact.
 */
import { z } from "zod";
import { onlyTensors } from "../selection.ts";
import type { Strategy } from "../strategy.ts";
import { weightsOption } from "../weights.ts";
import { fedAvg } from "./fedavg.ts";

export const oneFactorOptions = z.strictObject({ weights: weightsOption.default("examples") });

/** Names of one factor, in linear layers and embeddings. */
export function factorPattern(factor: "A" | "B"): string {
  return `\\.lora_(embedding_)?${factor}(\\.weight)?$`;
}

/** Names that do not match. */
export function except(pattern: string): string {
  return `^(?!.*${pattern})`;
}

/** FedAvg over the tensors that `averaged` matches; the others keep their bits, whatever a client sends. */
export function averagingOnly(
  config: z.output<typeof oneFactorOptions>,
  averaged: (round: number) => string,
): Strategy {
  const average = fedAvg.build(config);
  return {
    init: average.init,
    aggregate(state, context, updates) {
      const pattern = new RegExp(averaged(context.round));
      return average.aggregate(
        state,
        context,
        onlyTensors(updates, (name) => pattern.test(name)),
      );
    },
  };
}
