/**
 * A LoRA adapter in memory. On disk it is always a PEFT directory (peft.ts).
 *
 * Invariants, checked where an adapter enters (check-adapter.ts, the update check of the aggregators):
 *  1. Names are PEFT's (tensor-names.ts): `base_model.model.<module path>.lora_A.weight` [r, in] and
 *     `.lora_B.weight` [out, r]; for embeddings `.lora_embedding_A` [r, vocabulary], `.lora_embedding_B` [hidden, r];
 *     whole parameters `.weight` and `.bias`, with `base_layer.` before them where the module carries LoRA too.
 *  2. The two factors of a module have the same rank, and it is `rankOf(config, modulePath)`.
 *  3. Modules with factors are those that `isTarget` says; whole modules those that `modulesToSave` names.
 *
 * The weight a module works with is W + scaleOf(config, modulePath) * B * A.
 */
import { matchesEnd, matchesWhole } from "./python-pattern.ts";
import type { TensorSet } from "./tensor.ts";

export interface AdapterConfig {
  /** SHA-256 over the base model's graphs and weights (training/models), or the empty string where unknown. */
  readonly base: string;
  readonly rank: number;
  readonly alpha: number;
  /** Scale alpha / sqrt(r) instead of alpha / r. */
  readonly rslora: boolean;
  readonly dropout: number;
  /** Suffixes of module paths, or one string: a regular expression that matches whole paths, or "all-linear". */
  readonly targets: readonly string[] | string;
  /**
   * Ranks and alphas of the modules whose path ends with the key (preceded by a dot or the start). Keys are regular
   * expressions; the first one that matches counts.
   */
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
  /** Modules trained and stored whole: suffixes of module paths. */
  readonly modulesToSave: readonly string[];
  /** Modules that `targets` would take and that stay as they are: suffixes or a regular expression. */
  readonly excludes?: readonly string[] | string;
  /** Only layers with these numbers carry factors. */
  readonly layers?: readonly number[];
  /** What stands before the number of a layer in a path; any name, where absent. */
  readonly layersPattern?: readonly string[];
  /** "lora_only": the biases of modules with factors are part of the adapter, as whole tensors. */
  readonly bias?: "none" | "lora_only";
  /** Where a reader of the PEFT directory finds the base model: a hub id or a path. */
  readonly baseName?: string;
  /** adapter_config.json as it was read, so that keys without meaning for us survive a round trip. */
  readonly peft?: Readonly<Record<string, unknown>>;
}

export interface Adapter {
  readonly config: AdapterConfig;
  readonly tensors: TensorSet;
}

/** PEFT resolves this name to every linear layer but the head when it loads an adapter. */
export const ALL_LINEAR = "all-linear";

export function rankOf(config: AdapterConfig, modulePath: string): number {
  return firstMatch(config.rankPattern, modulePath) ?? config.rank;
}

export function alphaOf(config: AdapterConfig, modulePath: string): number {
  return firstMatch(config.alphaPattern, modulePath) ?? config.alpha;
}

/** What the product B·A is multiplied with: alpha / r, or alpha / sqrt(r) for rsLoRA. */
export function scaleOf(config: AdapterConfig, modulePath: string): number {
  const rank = rankOf(config, modulePath);
  return alphaOf(config, modulePath) / (config.rslora ? Math.sqrt(rank) : rank);
}

/**
 * Whether a module carries factors, by the rules of PEFT's `check_target_module_exists`: exclusions and saved modules
 * win, then an expression decides alone, then an exact path, then a suffix together with the number of the layer.
 */
export function isTarget(config: AdapterConfig, modulePath: string): boolean {
  if (config.excludes !== undefined && names(config.excludes, modulePath)) return false;
  if (config.modulesToSave.some((name) => insideOf(name, modulePath))) return false;
  if (config.targets === ALL_LINEAR) return true;
  if (typeof config.targets === "string") return matchesWhole(config.targets, modulePath);
  if (config.targets.includes(modulePath)) return true;
  return names(config.targets, modulePath) && inLayers(config, modulePath);
}

/**
 * Whether a path is a module that `modulesToSave` names, or lies inside one. PEFT compares the ends of paths letter by
 * letter here: "classifier" saves "pre_classifier" too.
 */
export function isSaved(config: AdapterConfig, modulePath: string): boolean {
  return config.modulesToSave.some((name) => `${modulePath}.`.includes(`${name}.`));
}

function firstMatch(patterns: Readonly<Record<string, number>>, modulePath: string): number | undefined {
  const key = Object.keys(patterns).find((pattern) => matchesEnd(pattern, modulePath));
  return key === undefined ? undefined : patterns[key];
}

function names(wanted: readonly string[] | string, modulePath: string): boolean {
  if (typeof wanted === "string") return matchesWhole(wanted, modulePath);
  return wanted.some((suffix) => modulePath === suffix || modulePath.endsWith(`.${suffix}`));
}

function insideOf(name: string, modulePath: string): boolean {
  return `.${modulePath}.`.includes(`.${name}.`);
}

function inLayers({ layers, layersPattern = [] }: AdapterConfig, modulePath: string): boolean {
  if (layers === undefined || layers.length === 0) return true;
  const layer = layerOf(modulePath, layersPattern);
  return layer !== undefined && layers.includes(layer);
}

/** The first number in the path counts: in "model.layers.1.experts.0.w" the layer is 1. */
function layerOf(modulePath: string, patterns: readonly string[]): number | undefined {
  const parts = modulePath.split(".");
  const numbered = (stem: (before: readonly string[]) => boolean) =>
    parts.find((part, i) => /^\d+$/.test(part) && i + 1 < parts.length && stem(parts.slice(0, i)));
  // PEFT's expression for "any name" wants a dot before that name.
  if (patterns.length === 0) return toNumber(numbered((before) => before.length >= 2));
  for (const pattern of patterns) {
    const found = numbered((before) => matchesEnd(pattern, before.join(".")));
    if (found !== undefined) return Number(found);
  }
  return undefined;
}

function toNumber(digits: string | undefined): number | undefined {
  return digits === undefined ? undefined : Number(digits);
}
