/** Small adapters and updates, written down in a line. */
import type { Adapter, AdapterConfig } from "../../adapters/adapter.ts";
import { floats } from "../../adapters/cast.ts";
import { float32, type Tensor, type TensorSet, tensor, tensorSet } from "../../adapters/tensor.ts";
import { type BuiltStrategy, buildStrategy } from "../../aggregators/build.ts";
import type { Spec } from "../../aggregators/options.ts";
import { aggregateUpdates, contextOf } from "../../aggregators/round.ts";
import type { AggregateResult, StrategyState, UpdateInfo } from "../../aggregators/strategy.ts";
import { collectUpdates, sourceOf, type UpdateEntry } from "../../aggregators/updates.ts";

export const CONFIG: AdapterConfig = {
  base: "",
  rank: 1,
  alpha: 1,
  rslora: false,
  dropout: 0,
  targets: ["q_proj"],
  rankPattern: {},
  alphaPattern: {},
  modulesToSave: [],
};

/** Values as a vector, or as rows. */
export type Values = readonly number[] | readonly (readonly number[])[];

export function tensorFrom(values: Values, dtype: "F32" | "F64" = "F32"): Tensor {
  const rows = values as readonly (readonly number[])[];
  const isMatrix = Array.isArray(values[0]);
  const shape = isMatrix ? [rows.length, rows[0]!.length] : [values.length];
  const flat = isMatrix ? rows.flat() : (values as readonly number[]);
  return dtype === "F32" ? float32(shape, flat) : tensor("F64", shape, Float64Array.from(flat));
}

export function setOf(tensors: Readonly<Record<string, Values>>, dtype: "F32" | "F64" = "F32"): TensorSet {
  return tensorSet(
    Object.entries(tensors).map(([name, values]) => [name, tensorFrom(values, dtype)] as const),
  );
}

export function adapter(
  tensors: Readonly<Record<string, Values>>,
  config: Partial<AdapterConfig> = {},
): Adapter {
  return { config: { ...CONFIG, ...config }, tensors: setOf(tensors, "F64") };
}

export interface UpdateOptions extends Partial<Omit<UpdateInfo, "client" | "examples">> {
  readonly extras?: Readonly<Record<string, Readonly<Record<string, Values>>>>;
  readonly base?: Readonly<Record<string, Values>>;
}

export function update(
  client: string,
  examples: number,
  tensors: Readonly<Record<string, Values>>,
  { extras = {}, base, ...info }: UpdateOptions = {},
): UpdateEntry {
  return entry(
    { client, examples, steps: 1, touched: {}, metrics: {}, adapter: CONFIG, ...info },
    setOf(tensors, "F64"),
    Object.fromEntries(Object.entries(extras).map(([kind, set]) => [kind, setOf(set, "F64")])),
    base === undefined ? undefined : setOf(base, "F64"),
  );
}

export function entry(
  info: UpdateInfo,
  tensors: TensorSet,
  extras: Readonly<Record<string, TensorSet>> = {},
  base?: TensorSet,
): UpdateEntry {
  return {
    info,
    tensors: sourceOf(tensors),
    extras: Object.fromEntries(Object.entries(extras).map(([kind, set]) => [kind, sourceOf(set)])),
    ...(base !== undefined && { base: sourceOf(base) }),
  };
}

export function aggregateOnce(
  spec: Spec | BuiltStrategy,
  global: Adapter,
  entries: readonly UpdateEntry[],
  {
    state,
    round = 1,
    totalClients = entries.length,
  }: { state?: StrategyState; round?: number; totalClients?: number } = {},
): AggregateResult {
  const built = "strategy" in spec && "needs" in spec ? (spec as BuiltStrategy) : buildStrategy(spec as Spec);
  const context = contextOf({
    built,
    state: built.strategy.init(global),
    round,
    global,
    seed: 7,
    totalClients,
  });
  return aggregateUpdates(built, state ?? built.strategy.init(global), context, collectUpdates(entries));
}

/** A set as plain arrays, for `toEqual`. */
export function plain(tensors: TensorSet): Record<string, number[]> {
  return Object.fromEntries([...tensors].map(([name, value]) => [name, [...floats(value)]]));
}

/** Dense s·B·A of a module, row by row: the oracle for everything that avoids building it. */
export function dense(b: Tensor, a: Tensor, scale = 1): number[] {
  const [out, rank] = b.shape as [number, number];
  const width = a.shape[1]!;
  const [vb, va] = [floats(b), floats(a)];
  const product = new Array<number>(out * width).fill(0);
  for (let i = 0; i < out; i++)
    for (let k = 0; k < rank; k++)
      for (let j = 0; j < width; j++)
        product[i * width + j]! += scale * vb[i * rank + k]! * va[k * width + j]!;
  return product;
}
