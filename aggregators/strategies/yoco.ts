import { EigenvalueDecomposition } from "ml-matrix";
import { z } from "zod";
import { floats } from "../../adapters/cast.ts";
import type { Tensor } from "../../adapters/tensor.ts";
import { addScaled } from "../differences.ts";
import { defineStrategy, EMPTY_STATE, type Updates } from "../strategy.ts";
import { mapGlobal, meanOf } from "../weighted-mean.ts";
import { weightsOf, weightsOption } from "../weights.ts";
import { meanNeeds } from "./fedavg.ts";
import { factorPattern } from "./one-factor.ts";

/**
 * YOCO: one round. Clients hold the signs of B where the common start put them and keep A sparse; the coordinator
 * averages B and combines the A of all clients inside their first principal components.
 *
 *   client   + weight ||tanh(γ B) − sign B₀|| / (||sign B₀|| + 1e-6) + λ ||A||₁      γ rises over the steps
 *   server   B = Σ p_k B_k      A = M + P Pᵀ Σ p_k (A_k − M)      M: plain mean, P: first c components of the A_k − M
 *
 * The components come from the m x m Gram matrix of the A_k − M. B₀ comes from the SVD of the base's weights with
 * `adapter.init: svd` in the run file (B and A, as in the paper) or `svd-b` (B alone, as in the published code); without
 * it B₀ is 0 and the sign term holds nothing. The code differs from the paper in further places, which are not followed:
 * ||AᵀA − I|| in place of ||A||₁, weights from cosine similarities.
 *
 * Source: YOCO, NeurIPS 2025, https://openreview.net/forum?id=FoVF3iL6o3
 */
export const yoco = defineStrategy({
  name: "yoco",
  needs: { ...meanNeeds, readsSingleUpdates: true, rounds: 1 },
  config: z.strictObject({
    weights: weightsOption.default("uniform"),
    components: z.int().positive().default(2).describe("c, principal components of A that are kept"),
    signWeight: z.number().min(0).default(1).describe("weight of the sign term; 0 leaves it out"),
    gamma: z
      .tuple([z.number().positive(), z.number().positive()])
      .default([1, 100])
      .describe("γ at the first and last step"),
    sparsity: z
      .number()
      .min(0)
      .default(1e-3)
      .describe("λ of the sparsity term; published runs take 1e-4 to 1e-1"),
  }),
  presets: { paper: {} },
  build: ({ weights: axis, components, signWeight, gamma, sparsity }) => ({
    init: () => EMPTY_STATE,
    plan: () => ({
      regularizers: {
        ...(signWeight > 0 && { sign: { weight: signWeight, gamma } }),
        ...(sparsity > 0 && { sparsity: { lambda: sparsity } }),
      },
    }),
    aggregate(state, { global }, updates) {
      const weights = weightsOf(axis, updates.clients);
      const isA = new RegExp(factorPattern("A"));
      const next = mapGlobal(global, updates, (name, old) =>
        isA.test(name)
          ? principalMean(updates, name, old, weights, components)
          : meanOf(updates, name, weights),
      );
      return { state, global: next, report: {} };
    },
  }),
});

function principalMean(
  updates: Updates,
  name: string,
  old: Tensor,
  weights: readonly number[],
  components: number,
): Float64Array | undefined {
  const uniform = weights.map(() => 1);
  const center = meanOf(updates, name, uniform);
  const weighted = meanOf(updates, name, weights);
  if (center === undefined || weighted === undefined) return undefined;
  const rows = updates.clients.flatMap((_, k) => {
    const sent = updates.tensor(k, name);
    if (sent === undefined) return [];
    const row = new Float64Array(floats(sent));
    addScaled(row, center, -1);
    return [row];
  });
  const gram = rows.map((x) => rows.map((y) => dot(x, y)));
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(gram, { assumeSymmetric: true });
  const order = realEigenvalues.map((_, j) => j).sort((i, j) => realEigenvalues[j]! - realEigenvalues[i]!);
  const offset = weighted.slice();
  addScaled(offset, center, -1);
  const result = center.slice();
  for (const j of order.slice(0, components)) {
    const variance = realEigenvalues[j]!;
    if (variance <= realEigenvalues[order[0]!]! * Number.EPSILON * old.shape[0]!) continue;
    const direction = new Float64Array(center.length);
    for (const [k, row] of rows.entries())
      addScaled(direction, row, eigenvectorMatrix.get(k, j) / Math.sqrt(variance));
    addScaled(result, direction, dot(direction, offset));
  }
  return result;
}

function dot(x: Float64Array, y: Float64Array): number {
  let total = 0;
  for (let i = 0; i < x.length; i++) total += x[i]! * y[i]!;
  return total;
}
