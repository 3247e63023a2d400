/** What `fedloom aggregate` is given: PEFT directories or safetensors files, and what is told of each update. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { type Adapter, type AdapterConfig, scaleOf } from "../../adapters/adapter.ts";
import { CONFIG_FILE, MODEL_FILE } from "../../adapters/peft.ts";
import { parsePeftConfig } from "../../adapters/peft-config.ts";
import { openSafetensors, type SafetensorsFile } from "../../adapters/safetensors.ts";
import { factorPairs } from "../../adapters/tensor-names.ts";
import type { UpdateInfo } from "../../aggregators/strategy.ts";
import type { UpdateFiles } from "../../aggregators/updates.ts";
import { FedloomError } from "../../base/errors.ts";

interface Place {
  /** The safetensors file. */
  readonly model: string;
  /** The adapter_config.json beside it, where there is one. */
  readonly config: string | undefined;
  /** What a further set of the same adapter is called: `<prefix>fisher.safetensors`. */
  readonly prefix: string;
}

function placeOf(path: string): Place {
  if (existsSync(path) && statSync(path).isDirectory()) {
    return { model: join(path, MODEL_FILE), config: existing(join(path, CONFIG_FILE)), prefix: `${path}/` };
  }
  // A bare file keeps to itself: the configuration beside it may belong to another one.
  const config = basename(path) === MODEL_FILE ? existing(join(dirname(path), CONFIG_FILE)) : undefined;
  return { model: path, config, prefix: path.replace(/(\.safetensors)?$/, ".") };
}

function existing(path: string): string | undefined {
  return existsSync(path) ? path : undefined;
}

/** A file that says nothing of its scale is taken at scale 1. */
const PLAIN: AdapterConfig = {
  base: "",
  rank: 1,
  alpha: 1,
  rslora: false,
  dropout: 0,
  targets: [],
  rankPattern: {},
  alphaPattern: {},
  modulesToSave: [],
};

/** @returns the adapter, and whether it came with a configuration */
export function readGlobal(path: string): { readonly global: Adapter; readonly isPeft: boolean } {
  const place = placeOf(path);
  const file = openSafetensors(place.model);
  try {
    const tensors = new Map(file.names.map((name) => [name, file.read(name)]));
    if (place.config !== undefined) {
      return { global: { config: configOf(place.config, file), tensors }, isPeft: true };
    }
    const rank = rankIn(file.names, (name) => tensors.get(name)!.shape) ?? 1;
    const targets = factorPairs(tensors.keys()).map(({ module }) => module);
    return { global: { config: { ...PLAIN, rank, alpha: rank, targets }, tensors }, isPeft: false };
  } finally {
    file.close();
  }
}

function configOf(path: string, { metadata }: SafetensorsFile): AdapterConfig {
  return parsePeftConfig(readFileSync(path), `"${path}"`, metadata["fedloom.base"] ?? "");
}

function rankIn(names: readonly string[], shapeOf: (name: string) => readonly number[]): number | undefined {
  const [first] = factorPairs(names);
  return first === undefined ? undefined : shapeOf(first.a)[0];
}

/** Numbers that may stand behind the examples: `FILE:120,steps=30,lossBefore=1.7`. */
const INFO_KEYS = new Set(["steps", "tokens", "staleness", "text", "image", "audio"]);

/**
 * @param argument `FILE`, `FILE:examples` or `FILE:examples,key=value,…`; keys beyond the counts are metrics
 * @param extras further sets that the strategy asks for
 * @throws FedloomError F1003 for numbers that are none
 */
export function readUpdate(
  argument: string,
  global: Adapter,
  extras: readonly string[],
): Omit<UpdateFiles, "info"> & { readonly info: Omit<UpdateInfo, "client"> } {
  const [, path, count, rest = ""] = /^(.+?)(?::(\d+)((?:,[^,=/\\]+=[^,/\\]*)*))?$/.exec(argument)!;
  const given = Object.fromEntries(
    rest
      .split(",")
      .filter((part) => part !== "")
      .map((part) => part.split("=") as [string, string])
      .map(([key, value]) => [key, numberOf(argument, key, value)]),
  );
  const place = placeOf(path!);
  const file = openSafetensors(place.model);
  const rank = rankIn(file.names, (name) => file.info(name).shape);
  const adapter = place.config === undefined ? likeGlobal(global.config, rank) : configOf(place.config, file);
  file.close();
  const counts = (keys: readonly string[]) =>
    Object.fromEntries(Object.entries(given).filter(([key]) => keys.includes(key)));
  return {
    info: {
      examples: count === undefined ? 1 : Number(count),
      steps: given.steps ?? 1,
      ...counts(["tokens", "staleness"]),
      touched: counts(["text", "image", "audio"]),
      metrics: Object.fromEntries(Object.entries(given).filter(([key]) => !INFO_KEYS.has(key))),
      adapter,
    },
    model: place.model,
    extras: Object.fromEntries(
      extras
        .map((kind) => [kind, `${place.prefix}${kind}.safetensors`])
        .filter(([, file]) => existsSync(file!)),
    ),
  };
}

function numberOf(argument: string, key: string, text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value)) return value;
  throw new FedloomError(
    "F1003",
    `Cannot read "--update ${argument}": "${key}" must be a number, got "${text}"`,
    {
      key,
    },
  );
}

/** The global configuration at the file's own rank, the scale unchanged. */
function likeGlobal(config: AdapterConfig, rank: number | undefined): AdapterConfig {
  if (rank === undefined || rank === config.rank) return config;
  const scale = scaleOf({ ...config, rankPattern: {}, alphaPattern: {} }, "");
  return {
    ...config,
    rank,
    alpha: scale * (config.rslora ? Math.sqrt(rank) : rank),
    rankPattern: {},
    alphaPattern: {},
  };
}

/** What to call the clients: the shortest part of their paths that tells them apart. */
export function clientNames(paths: readonly string[]): string[] {
  const short = paths.map((path) => {
    const name = basename(path) === MODEL_FILE ? basename(dirname(path)) : basename(path);
    return name.replace(/\.safetensors$/, "");
  });
  return new Set(short).size === short.length
    ? short
    : paths.map((path) => path.replace(/\.safetensors$/, ""));
}
