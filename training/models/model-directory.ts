/**
 * What a model directory of the hub holds: which graphs, in which precision, and the hash that names the base.
 *
 * Two layouts are known: three graphs (onnx/vision_encoder, embed_tokens, decoder_model_merged) for models that
 * take images (with onnx/audio_encoder, sounds), and one (onnx/model) for text models and classifiers. Of each graph the directory may hold several
 * precisions, told apart by a suffix.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { FedloomError, messageOf } from "../../base/errors.ts";
import { type ModelConfig, readModelConfig, type Task, taskOf } from "./model-config.ts";

/** Precisions by the suffix of their files, best for training first: that is the order they are looked for. */
export const SUFFIXES = {
  fp32: "",
  fp16: "_fp16",
  q4: "_q4",
  q4f16: "_q4f16",
  bnb4: "_bnb4",
  q8: "_quantized",
  int8: "_int8",
  uint8: "_uint8",
} as const;

export type Precision = keyof typeof SUFFIXES;

export interface ModelDirectory {
  readonly path: string;
  readonly config: ModelConfig;
  readonly task: Task;
  /** Paths of the graphs; a model in one graph has the decoder alone. */
  readonly graphs: {
    readonly vision?: string;
    /** Absent: the model takes no sounds. */
    readonly audio?: string;
    readonly embed?: string;
    readonly decoder: string;
  };
}

/** Names that a graph may have, the usual one first. */
const ROLES = {
  vision: ["vision_encoder"],
  audio: ["audio_encoder"],
  embed: ["embed_tokens"],
  decoder: ["decoder_model_merged", "decoder_model", "decoder"],
  whole: ["model"],
} as const;

/**
 * @param precision the one to take; where absent, the best that is there
 * @throws FedloomError F2101 where a graph is missing
 */
export async function openModelDirectory(path: string, precision?: Precision): Promise<ModelDirectory> {
  const config = await readModelConfig(path);
  const files = new Set(await list(path, join(path, "onnx")));
  const wanted = precision === undefined ? Object.values(SUFFIXES) : [SUFFIXES[precision]];
  const find = (names: readonly string[]): string | undefined => {
    const file = wanted
      .flatMap((suffix) => names.map((name) => `${name}${suffix}.onnx`))
      .find((f) => files.has(f));
    return file === undefined ? undefined : join(path, "onnx", file);
  };
  const require = (role: keyof typeof ROLES): string =>
    find(ROLES[role]) ?? missing(path, ROLES[role][0], wanted, files);
  const task = taskOf(config);
  // Either file of the three-graph layout tells that the others are missing, not that the model has one graph.
  const divided = find([...ROLES.decoder, ...ROLES.embed, ...ROLES.vision, ...ROLES.audio]) !== undefined;
  if (!divided) return { path, config, task, graphs: { decoder: require("whole") } };
  const takesImages = config.vision_config !== null && config.vision_config !== undefined;
  const audio = find(ROLES.audio);
  return {
    path,
    config,
    task,
    graphs: {
      embed: require("embed"),
      decoder: require("decoder"),
      ...(takesImages ? { vision: require("vision") } : {}),
      ...(audio === undefined ? {} : { audio }),
    },
  };
}

async function list(path: string, folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (cause) {
    throw new FedloomError(
      "F2101",
      `Cannot use the model in "${path}": its folder "onnx" cannot be read (${messageOf(cause)})`,
      { path },
      { cause },
    );
  }
}

function missing(path: string, name: string, suffixes: readonly string[], files: ReadonlySet<string>): never {
  const graphs = [...files].filter((file) => file.endsWith(".onnx")).sort();
  const wanted = suffixes.map((suffix) => `${name}${suffix}.onnx`);
  throw new FedloomError(
    "F2101",
    `Cannot use the model in "${path}": graph "onnx/${wanted[0]}" is missing; looked for ${wanted.join(", ")}, got ${graphs.length === 0 ? "no graphs" : graphs.join(", ")}`,
    { path, wanted, found: graphs },
  );
}
