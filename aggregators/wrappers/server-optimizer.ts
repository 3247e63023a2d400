import { z } from "zod";
import { floats } from "../../adapters/cast.ts";
import { tensorSet } from "../../adapters/tensor.ts";
import { defineWrapper } from "../strategy.ts";
import { like, pseudoGradient, stateTensor, stateValues } from "../weighted-mean.ts";
import { takeOwn, withOwn } from "../wrapped-state.ts";
import { refuseBaseChange } from "./base-change.ts";

/**
 * A server learning rate and momentum around any strategy: the step it would take is a gradient for SGD.
 *
 *   Δ = strategy's new w − w      v ← β v + Δ      w ← w + η v
 *
 * A tensor that the round left as it was keeps its v. Adapters only: what a strategy adds to the base is untouched.
 *
 * Source: Reddi et al. 2021, Algorithm 1 with SGD as the server's optimizer, https://arxiv.org/abs/2003.00295
 */
export const serverOptimizer = defineWrapper({
  name: "server-optimizer",
  needs: (inner) => {
    refuseBaseChange("server-optimizer", inner);
    return inner;
  },
  config: z.strictObject({
    learningRate: z.number().positive().default(1).describe("η, the server's step"),
    momentum: z.number().min(0).lt(1).default(0).describe("β"),
  }),
  wrap:
    ({ learningRate, momentum }) =>
    (inner) => ({
      ...inner,
      init: (global) =>
        withOwn("server-optimizer", { scalars: {}, tensors: { v: new Map() } }, inner.init(global)),
      ...(inner.plan !== undefined && {
        plan: (state, context) => inner.plan!(takeOwn("server-optimizer", state).inner, context),
      }),
      aggregate(state, context, updates) {
        const { own, inner: innerState } = takeOwn("server-optimizer", state);
        const result = inner.aggregate(innerState, context, updates);
        const velocity = new Map(own.tensors.v);
        const tensors = new Map(result.global.tensors);
        for (const [name, old] of context.global.tensors) {
          const next = tensors.get(name);
          if (next === undefined || next === old) continue;
          const step = pseudoGradient(new Float64Array(floats(next)), old);
          const v = stateValues(velocity, name, old);
          const values = new Float64Array(floats(old));
          for (let i = 0; i < v.length; i++) {
            v[i] = momentum * v[i]! + step[i]!;
            values[i] = values[i]! + learningRate * v[i]!;
          }
          if (momentum > 0) velocity.set(name, stateTensor(old.shape, v));
          tensors.set(name, like(old, values));
        }
        return {
          ...result,
          global: { ...result.global, tensors },
          state: withOwn(
            "server-optimizer",
            { scalars: {}, tensors: { v: tensorSet(velocity) } },
            result.state,
          ),
        };
      },
    }),
});
