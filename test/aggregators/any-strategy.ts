/** Rounds that any strategy can be put through: an adapter with factors and other tensors, and clients that trained it. */
import type { Adapter } from "../../adapters/adapter.ts";
import { floats } from "../../adapters/cast.ts";
import { type Tensor, type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import type { BuiltStrategy } from "../../aggregators/build.ts";
import type { Spec } from "../../aggregators/options.ts";
import { aggregateUpdates, contextOf } from "../../aggregators/round.ts";
import type { AggregateResult, StrategyState, UpdateInfo } from "../../aggregators/strategy.ts";
import { collectUpdates, type UpdateEntry } from "../../aggregators/updates.ts";
import { createRng, type Rng } from "../../base/rng.ts";
import { CONFIG, entry } from "./small.ts";

/** No two alike, none square: a reference code exists that is right for its first tensor only. */
const SHAPES: Readonly<Record<string, readonly number[]>> = {
  "base_model.model.layers.0.q_proj.lora_A.weight": [2, 5],
  "base_model.model.layers.0.q_proj.lora_B.weight": [7, 2],
  "base_model.model.layers.1.v_proj.lora_A.weight": [2, 6],
  "base_model.model.layers.1.v_proj.lora_B.weight": [3, 2],
  "base_model.model.vision.connector.weight": [4, 3],
  "base_model.model.vision.connector.bias": [4],
};
export const CORE = "base_model.model.layers.0.q_proj.lora_R.weight";
export const CLIENTS = 7;

/** Settings with which a wrapper does something: clips, forgets nothing, leaves some tensors at the clients. */
export const WRAPPER_SETTINGS: Readonly<Record<string, readonly Spec[]>> = {
  clip: [
    { name: "clip", norm: 0.1, adaptive: {} },
    { name: "clip", norm: 0.1, noiseMultiplier: 1 },
  ],
  noise: [{ name: "noise", std: 0.01 }],
  "server-optimizer": [{ name: "server-optimizer", learningRate: 0.5, momentum: 0.9 }],
  travels: [
    { name: "travels", tensors: "q_proj|connector" },
    { name: "travels", tensors: "lora_A" },
  ],
  ownership: [{ name: "ownership", image: "connector" }],
  proximal: [{ name: "proximal", preset: "fedmllm" }],
  "adaptive-proximal": [{ name: "adaptive-proximal" }],
};

/** What the strategy is given to start from: with a core where it trains one. */
export function globalFor({ needs }: BuiltStrategy): Adapter {
  const shapes = needs.core === true ? { ...SHAPES, [CORE]: [2, 2] } : SHAPES;
  const rng = createRng("contract");
  const tensors = Object.entries(shapes).map(
    ([name, shape]) => [name, drawn(shape, rng.fork(name), 0.5)] as const,
  );
  return {
    config: { ...CONFIG, rank: 2, alpha: 4, targets: ["q_proj", "v_proj"] },
    tensors: tensorSet(tensors),
  };
}

function drawn(shape: readonly number[], rng: Rng, size: number): Tensor {
  const count = shape.reduce((product, dim) => product * dim, 1);
  return { dtype: "F64", shape, data: Float64Array.from({ length: count }, () => size * rng.normal()) };
}

/** An update as the strategy's plan would have a client send it: frozen tensors untouched, only what travels. */
export function trained(
  built: BuiltStrategy,
  global: Adapter,
  client: string,
  seed: number,
  size = 0.1,
): UpdateEntry {
  const rng = createRng(seed).fork(client);
  const moved = [...global.tensors].map(([name, old]) => {
    const step = drawn(old.shape, rng.fork(name), size);
    const values = Float64Array.from(floats(old), (value, i) => value + floats(step)[i]!);
    return [name, { ...old, data: values }] as const;
  });
  const info: UpdateInfo = {
    client,
    examples: 3 + (seed % 5),
    steps: 1 + (seed % 3),
    tokens: 40 + (seed % 7),
    touched: { text: 3, image: 1 + (seed % 3) },
    metrics: { loss: 1.5, lossBefore: 2.5, learningRateMean: 0.1 },
    adapter: global.config,
  };
  return sent(built, global, info, tensorSet(moved));
}

export function sent(
  built: BuiltStrategy,
  global: Adapter,
  info: UpdateInfo,
  tensors: TensorSet,
): UpdateEntry {
  const state = built.strategy.init(global);
  const plan = built.strategy.plan?.(state, { round: 1, client: info.client, global }) ?? {};
  const frozen = plan.frozen === undefined ? undefined : new RegExp(plan.frozen);
  const travels = plan.travels === undefined ? undefined : new RegExp(plan.travels);
  const own = [...tensors]
    .map(([name, value]) => [name, frozen?.test(name) ? global.tensors.get(name)! : value] as const)
    .filter(([name]) => travels?.test(name) ?? true);
  const extras = (plan.extras ?? []).map((kind) => [
    kind,
    tensorSet(
      own.map(
        ([name, value]) =>
          [name, { ...value, data: Float64Array.from(floats(value), (x) => x * x) }] as const,
      ),
    ),
  ]);
  return entry(info, tensorSet(own), Object.fromEntries(extras));
}

export function run(
  built: BuiltStrategy,
  global: Adapter,
  entries: readonly UpdateEntry[],
  state: StrategyState = built.strategy.init(global),
  round = 1,
): AggregateResult {
  const context = contextOf({ built, state, round, global, seed: 3, totalClients: CLIENTS });
  return aggregateUpdates(built, state, context, collectUpdates(entries));
}

/** Three rounds, each from the last one's global adapter and state, the state passed through `store`. */
export function rounds(
  built: BuiltStrategy,
  global: Adapter,
  store: (state: StrategyState) => StrategyState,
): AggregateResult {
  let result: AggregateResult = { global, state: built.strategy.init(global), report: {} };
  for (let round = 1; round <= (built.needs.rounds ?? 3); round++) {
    const state = store(result.state);
    const entries = Array.from({ length: CLIENTS }, (_, k) =>
      trained(built, result.global, `c${k}`, 10 * round + k),
    );
    result = run(built, result.global, entries, state, round);
  }
  return result;
}

export function expectation(built: BuiltStrategy, global: Adapter) {
  const plan = built.strategy.plan?.(built.strategy.init(global), { round: 1, client: "c0", global }) ?? {};
  return { global, needs: built.needs, travels: plan.travels, extras: plan.extras };
}

export function setFrom(source: UpdateEntry["tensors"]): TensorSet {
  return tensorSet(source.names.map((name) => [name, source.read(name)] as const));
}

export function tensorsOf({ tensors }: UpdateEntry): TensorSet {
  return setFrom(tensors);
}

export function extrasOf({ extras = {} }: UpdateEntry): Record<string, TensorSet> {
  return Object.fromEntries(Object.entries(extras).map(([kind, set]) => [kind, setFrom(set)]));
}

export function bits({ global, baseDelta }: Pick<AggregateResult, "global" | "baseDelta">): unknown {
  return [global.tensors, baseDelta?.tensors ?? new Map<string, Tensor>()].map((set) =>
    [...set].map(([name, { dtype, shape, data }]) => [name, dtype, shape, [...data]]),
  );
}
