/** Whether an adapter belongs to a base model, and whether two adapters are of one kind. */
import { FedloomError } from "../base/errors.ts";
import { canonicalJson } from "../base/hash.ts";
import type { Adapter, AdapterConfig } from "./adapter.ts";
import { factorPairs } from "./tensor-names.ts";

/** A module of a base model that can carry factors. */
export interface BaseModule {
  readonly path: string;
  readonly in: number;
  readonly out: number;
}

export interface BaseModel {
  /** See AdapterConfig.base; the empty string where unknown. */
  readonly hash: string;
  readonly modules: readonly BaseModule[];
}

/**
 * @param what what messages call the adapter
 * @throws FedloomError F3008 for an adapter of another base model: another hash, a module the base does not have, or
 *   factors of another width
 */
export function assertFits({ config, tensors }: Adapter, base: BaseModel, what: string): void {
  if (config.base !== "" && base.hash !== "" && config.base !== base.hash) {
    throw mismatch(what, `it was made for base model ${short(config.base)}, this is ${short(base.hash)}`);
  }
  const modules = new Map(base.modules.map((module) => [module.path, module]));
  for (const { module, a, b } of factorPairs(tensors.keys())) {
    const found = modules.get(module);
    if (found === undefined) {
      throw mismatch(what, `the base model has no module "${module}" that can carry factors`);
    }
    const inputs = tensors.get(a)!.shape[1];
    const outputs = tensors.get(b)!.shape[0];
    if (inputs !== found.in || outputs !== found.out) {
      throw mismatch(
        what,
        `module "${module}" of the base model has ${found.in} inputs and ${found.out} outputs, the factors have ${inputs} and ${outputs}`,
      );
    }
  }
}

/** What decides which tensors an adapter has and what they mean. Dropout and names of the base do not. */
const KIND = {
  base: "base model",
  rank: "rank",
  alpha: "alpha",
  rslora: "rslora",
  targets: "targets",
  rankPattern: "rank pattern",
  alphaPattern: "alpha pattern",
  modulesToSave: "saved modules",
  excludes: "excluded modules",
  layers: "layers",
  layersPattern: "layers pattern",
  bias: "bias",
} as const satisfies Partial<Record<keyof AdapterConfig, string>>;

export interface Difference {
  readonly key: keyof typeof KIND;
  readonly wanted: string;
  readonly got: string;
}

/** Compares without running any expression of either configuration, so that a peer's is safe to compare. */
export function differences(wanted: AdapterConfig, got: AdapterConfig): Difference[] {
  if (wanted === got) return []; // as those read from the same bytes are
  return (Object.keys(KIND) as (keyof typeof KIND)[]).flatMap((key) => {
    if (key === "base" && (wanted.base === "" || got.base === "")) return [];
    const [left, right] = [canonical(wanted, key), canonical(got, key)];
    return left === right ? [] : [{ key, wanted: left, got: right }];
  });
}

/** @throws FedloomError F3008, naming the first difference that is not allowed */
export function assertSameKind(
  wanted: AdapterConfig,
  got: AdapterConfig,
  what: string,
  { mayDiffer = [] }: { readonly mayDiffer?: readonly Difference["key"][] } = {},
): void {
  const first = differences(wanted, got).find(({ key }) => !mayDiffer.includes(key));
  if (first !== undefined) {
    throw mismatch(what, `its ${KIND[first.key]} must be ${clip(first.wanted)}, got ${clip(first.got)}`);
  }
}

/** Order of a list of names does not matter, absent and empty are the same, no bias is "none". */
function canonical(config: AdapterConfig, key: keyof typeof KIND): string {
  const value = config[key] ?? (key === "bias" ? "none" : []);
  return canonicalJson(Array.isArray(value) ? [...new Set<unknown>(value)].sort() : value);
}

function mismatch(what: string, why: string): FedloomError {
  return new FedloomError("F3008", `Cannot use the adapter of ${what}: ${why}`, { what });
}

function short(hash: string): string {
  return hash.slice(0, 12);
}

function clip(text: string): string {
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
}
