import { z } from "zod";
import { floats } from "../../adapters/cast.ts";
import { addScaled, differenceNorms, differenceOf } from "../differences.ts";
import { requireMetric } from "../metrics.ts";
import { defineStrategy, EMPTY_STATE } from "../strategy.ts";
import { mapGlobal } from "../weighted-mean.ts";
import { meanNeeds } from "./fedavg.ts";

/**
 * q-FedAvg: clients with a higher loss count more, so that losses become more alike.
 *
 *   L = 1/η    g_k = L (w − w_k)    F_k = loss of client k + 1e-10
 *   w ← w − Σ F_k^q g_k / Σ (q F_k^{q−1} ||g_k||² + L F_k^q)
 *
 * Example counts do not enter: q = 0 is the plain mean. F_k is the loss of the received adapter over all local
 * examples, which costs the client a pass before it trains; preset flower takes the training loss instead.
 *
 * Source: Li et al. 2020, Algorithm 2, https://arxiv.org/abs/1905.10497
 */
export const qFedAvg = defineStrategy({
  name: "qfedavg",
  needs: { ...meanNeeds, readsSingleUpdates: true, separable: "adapter" },
  config: z.strictObject({
    q: z
      .number()
      .min(0)
      .default(0.1)
      .describe("0 averages plainly; larger values favor clients with a high loss"),
    learningRate: z
      .number()
      .positive()
      .default(0.1)
      .describe("η, the clients' step: 1/η stands for the Lipschitz constant"),
    lossOf: z
      .enum(["received", "training"])
      .default("received")
      .describe("F_k: the loss of the received adapter, or the mean training loss"),
    lossOffset: z
      .number()
      .min(0)
      .default(1e-10)
      .describe("added to F_k, so that F_k^(q-1) is finite for a loss of 0"),
  }),
  presets: { paper: {}, flower: { lossOf: "training" } },
  build: ({ q, learningRate, lossOf, lossOffset }) => ({
    init: () => EMPTY_STATE,
    plan: () => (lossOf === "received" ? { measure: ["lossBefore"] } : {}),
    aggregate(state, { global }, updates) {
      const scale = 1 / learningRate;
      const metric = lossOf === "received" ? "lossBefore" : "loss";
      const losses = updates.clients.map(
        (info) => requireMetric(info, metric, "q-FedAvg weighs by it") + lossOffset,
      );
      const shares = losses.map((loss) => loss ** q);
      const curvatures = differenceNorms(updates, global.tensors).map(
        (norm, k) => q * losses[k]! ** (q - 1) * (scale * norm) ** 2 + scale * shares[k]!,
      );
      const next = mapGlobal(global, updates, (name, old) => {
        const values = new Float64Array(floats(old));
        const present = updates.clients.flatMap((_, k) => (updates.has(k, name) ? [k] : []));
        const total = present.reduce((sum, k) => sum + curvatures[k]!, 0);
        for (const k of present) {
          addScaled(values, differenceOf(updates, k, name, old)!, (shares[k]! * scale) / total);
        }
        return values;
      });
      return { state, global: next, report: {} };
    },
  }),
});
