/**
 * Federated quadratics, where everything that papers claim can be computed: client k has
 * F_k(w) = a_k/2 (w − b_k)² in each coordinate and takes plain gradient steps.
 */
import type { Adapter } from "../../adapters/adapter.ts";
import { floats } from "../../adapters/cast.ts";
import type { TensorSet } from "../../adapters/tensor.ts";
import { buildStrategy } from "../../aggregators/build.ts";
import type { Spec } from "../../aggregators/options.ts";
import { aggregateUpdates, contextOf } from "../../aggregators/round.ts";
import type { ClientInstructions } from "../../aggregators/strategy.ts";
import { collectUpdates } from "../../aggregators/updates.ts";
import { adapter, CONFIG, entry, type Values } from "../aggregators/small.ts";

export interface Client {
  readonly curvature: number;
  readonly optimum: number;
  readonly steps: number;
  readonly examples: number;
}

/** Two tensors of different shapes with the same problem in each coordinate, scaled by its position. */
export const START: Readonly<Record<string, Values>> = { first: [[0, 0, 0]], second: [0, 0] };

/** Runs rounds of local gradient descent with what the strategy plans, and gives the first coordinate of each tensor. */
export function train(
  spec: Spec,
  clients: readonly Client[],
  options: {
    readonly rounds: number;
    readonly learningRate: number;
    readonly cohort?: (round: number) => readonly number[];
  },
): readonly number[] {
  const built = buildStrategy(spec);
  let global: Adapter = adapter(START);
  let state = built.strategy.init(global);
  for (let round = 1; round <= options.rounds; round++) {
    const cohort = options.cohort?.(round) ?? clients.map((_, k) => k);
    const entries = cohort.map((k) => {
      const name = `c${k}`;
      const plan = built.strategy.plan?.(state, { round, client: name, global }) ?? {};
      const client = clients[k]!;
      const info = {
        client: name,
        examples: client.examples,
        steps: client.steps,
        touched: {},
        metrics: { learningRateMean: options.learningRate },
        adapter: CONFIG,
      };
      return entry(info, descend(global.tensors, client, options.learningRate, plan));
    });
    const context = contextOf({ built, state, round, global, seed: 1, totalClients: clients.length });
    const result = aggregateUpdates(built, state, context, collectUpdates(entries));
    global = result.global;
    state = result.state;
  }
  return [...global.tensors.values()].map((value) => floats(value)[0]!);
}

function descend(from: TensorSet, client: Client, learningRate: number, plan: ClientInstructions): TensorSet {
  const pull = plan.proximal === undefined ? 0 : plan.proximal.mu * plan.proximal.weight;
  return new Map(
    [...from].map(([name, start]) => {
      const correction = plan.corrections?.gradient?.get(name);
      const before = floats(start);
      const values = Float64Array.from(before);
      for (let step = 0; step < client.steps; step++) {
        for (let i = 0; i < values.length; i++) {
          const gradient =
            client.curvature * (values[i]! - client.optimum) + pull * (values[i]! - before[i]!);
          values[i] =
            values[i]! - learningRate * (gradient + (correction === undefined ? 0 : floats(correction)[i]!));
        }
      }
      return [name, { ...start, data: values }] as const;
    }),
  );
}

/** Where Σ p_k F_k has its minimum. */
export function optimumOf(clients: readonly Client[], weight: (client: Client) => number = () => 1): number {
  const top = clients.reduce((sum, client) => sum + weight(client) * client.curvature * client.optimum, 0);
  return top / clients.reduce((sum, client) => sum + weight(client) * client.curvature, 0);
}
