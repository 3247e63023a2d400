/**
 * adapter_config.json to AdapterConfig and back.
 *
 * Every key is either understood, known to be without effect on a trained LoRA adapter, or refused by name: an option
 * that is ignored in silence gives wrong numbers. Keys without effect survive a round trip as they were.
 *
 * Source: LoraConfig of PEFT, https://huggingface.co/docs/peft/package_reference/lora
 */
import { z } from "zod";
import { FedloomError } from "../base/errors.ts";
import { canonicalJson } from "../base/hash.ts";
import { RecentlyRead } from "../base/recently-read.ts";
import { type AdapterConfig, ALL_LINEAR } from "./adapter.ts";
import { matchesWhole } from "./python-pattern.ts";

/** A model that names its modules one by one makes some 100 KiB. Unbounded, a hostile file exhausts memory. */
export const MAX_CONFIG_BYTES = 4 * 2 ** 20;

const positive = z.number().positive();
const rank = z.int().positive().max(65_536);
const namesOrPattern = z.union([z.string().min(1), z.array(z.string().min(1))]);

/** The keys that we understand. */
const understood = z.looseObject({
  peft_type: z.string(),
  base_model_name_or_path: z.string().nullish(),
  r: rank,
  lora_alpha: positive,
  lora_dropout: z.number().min(0).max(1).default(0),
  use_rslora: z.boolean().default(false),
  target_modules: namesOrPattern,
  exclude_modules: namesOrPattern.nullish(),
  modules_to_save: z.array(z.string().min(1)).nullish(),
  rank_pattern: z.record(z.string(), rank).nullish(),
  alpha_pattern: z.record(z.string(), positive).nullish(),
  layers_to_transform: z.union([z.int().min(0), z.array(z.int().min(0))]).nullish(),
  layers_pattern: z.union([z.string(), z.array(z.string())]).nullish(),
  bias: z.enum(["none", "lora_only", "all"]).default("none"),
  ensure_weight_tying: z.boolean().nullish(),
});

/** Keys that say where an adapter comes from or how it was started, and change nothing once it is trained. */
const WITHOUT_EFFECT = new Set([
  "auto_mapping",
  "corda_config",
  "eva_config",
  "fan_in_fan_out",
  "inference_mode",
  "lora_ga_config",
  "megatron_core",
  "peft_version",
  "qalora_group_size",
  "revision",
  "runtime_config",
  "task_type",
]);

/** Ways to begin that leave the base model's weights alone; the others subtract the start from them. */
const PLAIN_STARTS: readonly unknown[] = [undefined, null, true, false, "gaussian", "orthogonal", "eva"];

/** One for each configuration that the clients of a round have. */
const recent = new RecentlyRead<AdapterConfig>(8);

/**
 * @param what what messages call this configuration: a path, or "update of client …"
 * @param base see AdapterConfig.base; adapter_config.json has no key for it
 * @throws FedloomError F3006 for what is no LoRA configuration, F3007 for what we do not support
 */
export function parsePeftConfig(bytes: Uint8Array, what: string, base = ""): AdapterConfig {
  return recent.of(bytes, base, () => parse(bytes, what, base));
}

function parse(bytes: Uint8Array, what: string, base: string): AdapterConfig {
  const raw = parseJson(bytes, what);
  const peftType = typeof raw === "object" && raw !== null && "peft_type" in raw ? raw.peft_type : undefined;
  if (typeof peftType === "string" && peftType !== "LORA") {
    throw unsupported(what, `peft_type "${peftType}"; it must be "LORA"`);
  }
  const parsed = understood.safeParse(raw);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    throw new FedloomError(
      "F3006",
      `Cannot use adapter_config.json of ${what}: "${path.join(".")}": ${message}`,
      { what },
    );
  }
  const peft = parsed.data;
  const asRead = z.record(z.string(), z.unknown()).parse(raw);
  for (const [key, value] of Object.entries(asRead)) {
    if (key in understood.shape || WITHOUT_EFFECT.has(key) || isOff(value)) continue;
    if (key === "init_lora_weights" && PLAIN_STARTS.includes(value)) continue;
    throw unsupported(what, `${key} = ${JSON.stringify(value).slice(0, 80)}`);
  }
  const tied = peft.ensure_weight_tying === true ? tiedModule(peft) : undefined;
  if (tied !== undefined)
    throw unsupported(
      what,
      `ensure_weight_tying = true with "${tied}"; a trained embedding and its head stay apart here`,
    );
  if (peft.bias === "all") throw unsupported(what, 'bias = "all"; "none" and "lora_only" are supported');
  return {
    base,
    rank: peft.r,
    alpha: peft.lora_alpha,
    rslora: peft.use_rslora,
    dropout: peft.lora_dropout,
    targets: peft.target_modules,
    rankPattern: peft.rank_pattern ?? {},
    alphaPattern: peft.alpha_pattern ?? {},
    modulesToSave: peft.modules_to_save ?? [],
    ...(peft.exclude_modules == null ? {} : { excludes: peft.exclude_modules }),
    ...(peft.layers_to_transform == null ? {} : { layers: [peft.layers_to_transform].flat() }),
    ...(peft.layers_pattern == null ? {} : { layersPattern: [peft.layers_pattern].flat() }),
    bias: peft.bias,
    ...(peft.base_model_name_or_path == null ? {} : { baseName: peft.base_model_name_or_path }),
    peft: asRead,
  };
}

/** Modules whose weights a model may share, by the names that PEFT knows for them. */
const TIED = ["embed_tokens", "lm_head"];

/** The first of them that is trained, where one is. */
function tiedModule({ modules_to_save, target_modules }: z.output<typeof understood>): string | undefined {
  const listed = [modules_to_save ?? [], typeof target_modules === "string" ? [] : target_modules].flat();
  const isTrained = (name: string): boolean =>
    listed.some((path) => path.split(".").at(-1) === name) ||
    (typeof target_modules === "string" &&
      target_modules !== ALL_LINEAR &&
      matchesWhole(target_modules, name));
  return TIED.find(isTrained);
}

/** What became of a configuration that clients of a round share. */
const formatted = new WeakMap<AdapterConfig, Uint8Array>();

/**
 * Equal configurations give equal bytes: keys in order, two blanks of indentation, as PEFT writes them.
 *
 * Keys of `config.peft` stay as they were read wherever the configuration still says the same.
 *
 * @returns not to be changed
 */
export function formatPeftConfig(config: AdapterConfig): Uint8Array {
  const bytes = formatted.get(config) ?? format(config);
  formatted.set(config, bytes);
  return bytes;
}

function format(config: AdapterConfig): Uint8Array {
  const now = keysOf(config);
  if (config.peft === undefined) return encode({ ...DEFAULTS, ...now });
  const before = keysOf(parsePeftConfig(encode(config.peft), "this adapter"));
  const changed = Object.entries(now).filter(
    ([key, value]) => canonicalJson(value) !== canonicalJson(before[key]),
  );
  return encode({ ...config.peft, ...Object.fromEntries(changed) });
}

/** What PEFT wants to find beside the keys that we set. */
const DEFAULTS: Readonly<Record<string, unknown>> = {
  auto_mapping: null,
  fan_in_fan_out: false,
  inference_mode: true,
  init_lora_weights: true,
  revision: null,
  task_type: "CAUSAL_LM",
  use_dora: false,
};

function keysOf(config: AdapterConfig): Record<string, unknown> {
  return {
    peft_type: "LORA",
    base_model_name_or_path: config.baseName ?? null,
    r: config.rank,
    lora_alpha: config.alpha,
    lora_dropout: config.dropout,
    use_rslora: config.rslora,
    target_modules: config.targets,
    exclude_modules: config.excludes ?? null,
    modules_to_save: config.modulesToSave.length === 0 ? null : config.modulesToSave,
    rank_pattern: config.rankPattern,
    alpha_pattern: config.alphaPattern,
    layers_to_transform: config.layers ?? null,
    layers_pattern: config.layersPattern ?? null,
    bias: config.bias ?? "none",
  };
}

function encode(keys: Readonly<Record<string, unknown>>): Uint8Array {
  const ordered = Object.fromEntries(Object.entries(keys).sort(([a], [b]) => (a < b ? -1 : 1)));
  return Buffer.from(JSON.stringify(ordered, null, 2));
}

function parseJson(bytes: Uint8Array, what: string): unknown {
  if (bytes.length > MAX_CONFIG_BYTES) {
    throw new FedloomError(
      "F3006",
      `Cannot use adapter_config.json of ${what}: it has ${bytes.length} bytes, the limit is ${MAX_CONFIG_BYTES}`,
      { what },
    );
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new FedloomError(
      "F3006",
      `Cannot use adapter_config.json of ${what}: it is not JSON`,
      { what },
      { cause },
    );
  }
}

function isOff(value: unknown): boolean {
  if (value === null || value === undefined || value === false) return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

function unsupported(what: string, option: string): FedloomError {
  return new FedloomError(
    "F3007",
    `Cannot use the adapter of ${what}: it has ${option}, which is not supported`,
    { what, option },
  );
}
