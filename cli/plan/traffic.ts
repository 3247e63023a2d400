/** What one client of a run's first round is sent and sends back, by encoding both. */
import type { Adapter } from "../../adapters/adapter.ts";
import { floats, floatTensor, isFloat } from "../../adapters/cast.ts";
import { codecOf } from "../../adapters/codecs/index.ts";
import { encodeSet, negotiateSet, SET_CODECS } from "../../adapters/encoded-set.ts";
import { encodeUpdate } from "../../adapters/encoded-update.ts";
import { atRank } from "../../adapters/hand-out.ts";
import { baseMetadata, encodeAdapter } from "../../adapters/peft.ts";
import { writeSafetensors } from "../../adapters/safetensors.ts";
import type { TensorSet } from "../../adapters/tensor.ts";
import { createRng, type Rng } from "../../base/rng.ts";
import { splitTravelling } from "../../client/local-tensors.ts";
import type { RunConfig } from "../../config/run.ts";
import { strategyOf } from "../../server/work/prepare.ts";

export interface Traffic {
  readonly downBytes: number;
  readonly upBytes: number;
}

/** @param adapter that round 1 hands out */
export function trafficOf(config: RunConfig, adapter: Adapter): Traffic {
  const { strategy } = strategyOf(config);
  const plan =
    strategy.plan?.(strategy.init(adapter), { round: 1, client: "planned", global: adapter }) ?? {};
  const files = encodeAdapter(adapter);
  const corrections = Object.values(plan.corrections ?? {}).map((set) => writeSafetensors(set).length);
  const rng = createRng("plan");
  const trained = plan.rank === undefined ? adapter : atRank(adapter, plan.rank);
  const { travelling } = splitTravelling(moved(trained.tensors, rng), plan.travels);
  const codec = codecOf(plan.rank === undefined ? config.codec : "fp32");
  const reference = { tensors: adapter.tensors, sha256: "0".repeat(64) };
  const metadata = baseMetadata(adapter.config);
  const { pieces } = encodeUpdate(codec, travelling, reference, rng, { metadata });
  const extrasCodec = negotiateSet(plan.extrasCodecs ?? [], SET_CODECS);
  const squares = mapped(travelling, (value) => value * value);
  const extras = (plan.extras ?? []).map(() => encodeSet(extrasCodec, squares).length);
  return {
    downBytes: sum([files.config.length, files.model.length, ...corrections]),
    upBytes: sum([
      encodeAdapter(trained).config.length,
      ...[...pieces].map(({ length }) => length),
      ...extras,
    ]),
  };
}

/** Every value a little elsewhere, as training leaves it: codecs that send what changed send all of it. */
function moved(tensors: TensorSet, rng: Rng): TensorSet {
  return mapped(tensors, (value) => value + 1e-3 * rng.normal());
}

function mapped(tensors: TensorSet, change: (value: number) => number): TensorSet {
  return new Map(
    [...tensors].map(([name, tensor]) => {
      const { dtype, shape } = tensor;
      if (!isFloat(dtype)) return [name, tensor];
      return [name, floatTensor(dtype, shape, Float32Array.from(floats(tensor), change))];
    }),
  );
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
