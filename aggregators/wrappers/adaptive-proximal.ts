import { z } from "zod";
import type { TensorSet } from "../../adapters/tensor.ts";
import { defineWrapper, type Group, type UpdateInfo } from "../strategy.ts";
import { takeOwn, withOwn } from "../wrapped-state.ts";

/**
 * FedMLLM's adaptive regularization with strength and range set from what is measured: the more modalities the
 * clients' examples lack, the stronger the term and the fewer layers it holds, from all towards the middle.
 *
 *   ρ = share of (example, modality) pairs that were missing last round, of the modalities that anyone has
 *   weight = min(1, 2ρ) · maxWeight      layers s … L−1−s      s = round(min(1, 2ρ) · maxMargin · L)
 *
 * ρ = 1/2 is the worst there is with two modalities: every example has one. At ρ = 1/2 the defaults give the
 * published weight 0.1 and, for 28 layers, the published range 4 to 23. Round 1 has measured nothing and no term.
 *
 * Source: the intent of FedMLLM's figure 3, https://arxiv.org/abs/2411.14717; the rule is this project's
 */
export const adaptiveProximal = defineWrapper({
  name: "adaptive-proximal",
  config: z.strictObject({
    mu: z.number().min(0).default(0.01).describe("μ"),
    maxWeight: z.number().min(0).default(0.1).describe("factor on μ where every example lacks a modality"),
    maxMargin: z
      .number()
      .min(0)
      .lt(0.5)
      .default(1 / 7)
      .describe("share of the layers then left out at each end"),
  }),
  wrap:
    ({ mu, maxWeight, maxMargin }) =>
    (inner) => ({
      init: (global) => withOwn("adaptive-proximal", { scalars: {}, tensors: {} }, inner.init(global)),
      plan(state, context) {
        const { own, inner: innerState } = takeOwn("adaptive-proximal", state);
        const instructions = inner.plan?.(innerState, context) ?? {};
        const severity = Math.min(1, 2 * (own.scalars.missing ?? 0));
        if (severity === 0) return instructions;
        const layers = layerCount(context.global.tensors);
        const margin = Math.round(severity * maxMargin * layers);
        return {
          ...instructions,
          proximal: {
            mu,
            weight: severity * maxWeight,
            ...(margin > 0 && { layers: [margin, layers - 1 - margin] as const }),
          },
        };
      },
      aggregate(state, context, updates) {
        const { inner: innerState } = takeOwn("adaptive-proximal", state);
        const result = inner.aggregate(innerState, context, updates);
        const missing = missingRate(updates.clients);
        return {
          ...result,
          state: withOwn("adaptive-proximal", { scalars: { missing }, tensors: {} }, result.state),
          report: { ...result.report, missingModalities: missing },
        };
      },
    }),
});

const MODALITIES: readonly Group[] = ["text", "image", "audio"];

/** ρ: of the modalities that any client has, the share of examples that lack them. */
export function missingRate(clients: readonly UpdateInfo[]): number {
  const present = MODALITIES.filter((group) => clients.some(({ touched }) => (touched[group] ?? 0) > 0));
  let wanted = 0;
  let had = 0;
  for (const { examples, touched } of clients) {
    wanted += examples * present.length;
    for (const group of present) had += Math.min(examples, touched[group] ?? 0);
  }
  return wanted === 0 ? 0 : 1 - had / wanted;
}

/** One more than the largest layer number in the names; the first number of a name is its layer. */
function layerCount(tensors: TensorSet): number {
  const numbers = [...tensors.keys()].flatMap((name) => {
    const found = /\.(\d+)\./.exec(name)?.[1];
    return found === undefined ? [] : [Number(found)];
  });
  return numbers.length === 0 ? 1 : Math.max(...numbers) + 1;
}
