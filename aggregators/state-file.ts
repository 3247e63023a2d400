/**
 * A strategy's state as one safetensors file: each tensor under `<set>/<name>`, the scalars in the metadata.
 *
 * Numbers print as JavaScript prints them, which reads back to the same bits; -0 and non-finite scalars have
 * forms of their own. Equal states give equal bytes.
 */
import { viewSafetensors, writeSafetensors } from "../adapters/safetensors.ts";
import { type Tensor, type TensorSet, tensorSet } from "../adapters/tensor.ts";
import { FedloomError } from "../base/errors.ts";
import type { StrategyState } from "./strategy.ts";

const FORMAT = "fedloom.strategy-state.1";

export function encodeState({ scalars, tensors }: StrategyState): Uint8Array {
  const all = Object.entries(tensors).flatMap(([set, members]) =>
    [...members].map(([name, value]): [string, Tensor] => [`${set}/${name}`, value]),
  );
  const entries = Object.entries(scalars)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => [name, Object.is(value, -0) ? "-0" : String(value)]);
  return writeSafetensors(tensorSet(all), {
    format: FORMAT,
    scalars: JSON.stringify(Object.fromEntries(entries)),
    sets: JSON.stringify(Object.keys(tensors).sort()),
  });
}

/** @throws FedloomError F3001 for a damaged file, F3113 for one that is no state */
export function decodeState(bytes: Uint8Array, file = "strategy state"): StrategyState {
  const source = viewSafetensors(bytes, file);
  const texts = parse<Record<string, string>>(source.metadata.scalars);
  const sets = parse<string[]>(source.metadata.sets);
  if (source.metadata.format !== FORMAT || texts === undefined || sets === undefined) {
    throw new FedloomError("F3113", `Cannot read "${file}": a saved strategy state is wanted (${FORMAT})`, {
      file,
    });
  }
  const tensors: Record<string, TensorSet> = Object.fromEntries(
    sets.map((set) => [
      set,
      tensorSet(
        source.names
          .filter((name) => name.slice(0, name.indexOf("/")) === set)
          .map((name) => [name.slice(set.length + 1), source.read(name)] as const),
      ),
    ]),
  );
  return {
    scalars: Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, Number(text)])),
    tensors,
  };
}

/** What we wrote ourselves, or undefined: the format's name decides whether it can be trusted. */
function parse<T>(text: string | undefined): T | undefined {
  try {
    return text === undefined ? undefined : (JSON.parse(text) as T);
  } catch {
    return undefined;
  }
}
