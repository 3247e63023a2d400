/** The graphs of a model directory, by what they are for. */
import { relative, resolve } from "node:path";
import type { MediaKind } from "../../training/models/media-kind.ts";
import {
  addedNorms,
  contextLength,
  mediaTokenId,
  readModelConfig,
  taskOf,
  turnedLinears,
} from "../../training/models/model-config.ts";
import { openModelDirectory } from "../../training/models/model-directory.ts";
import { openGraphFile } from "../../training/onnx/edge/files.ts";
import { readTargets } from "../../training/onnx/edge/targets-file.ts";
import type { AddedNorms, GraphFile, ModuleLocation } from "../../training/onnx/engine.ts";

export interface ModelGraphs {
  readonly directory: string;
  readonly decoder: GraphFile;
  readonly embed: GraphFile | undefined;
  /** Of pictures, of sounds, or of both, and the tokens that give way to their features. */
  readonly encoders: readonly {
    readonly kind: MediaKind;
    readonly file: GraphFile;
    readonly tokenId: number | undefined;
  }[];
  readonly objective: "tokens" | "classes";
  readonly addedNorms: AddedNorms | undefined;
  readonly turnedLinears: RegExp | undefined;
  /** Tokens that the model's positions reach, where config.json says so. */
  readonly contextLength: number | undefined;
  /** What the directory's targets file says of a graph. */
  mappingOf(file: GraphFile): Readonly<Record<string, ModuleLocation>> | undefined;
}

/** @param decoder path of the graph that has the loss; what the hub's layout says where absent */
export async function openGraphs(directory: string, decoder?: string): Promise<ModelGraphs> {
  const config = await readModelConfig(directory);
  const found =
    decoder === undefined
      ? (await openModelDirectory(directory)).graphs
      : { decoder: resolve(directory, decoder) };
  const others = decoder === undefined ? found : await besides(directory);
  const open = (path: string | undefined): GraphFile | undefined =>
    path === undefined ? undefined : openGraphFile(path);
  const targets = readTargets(directory);
  const [vision, audio] = [
    "vision" in others ? others.vision : undefined,
    "audio" in others ? others.audio : undefined,
  ];
  return {
    directory,
    decoder: openGraphFile(found.decoder),
    embed: open("embed" in others ? others.embed : undefined),
    encoders: [
      { kind: "image", file: open(vision) } as const,
      { kind: "audio", file: open(audio) } as const,
    ].flatMap(({ kind, file }) =>
      file === undefined ? [] : [{ kind, file, tokenId: mediaTokenId(config, kind) }],
    ),
    addedNorms: addedNorms(config),
    turnedLinears: turnedLinears(config),
    contextLength: contextLength(config),
    objective: taskOf(config) === "generation" ? "tokens" : "classes",
    mappingOf: (file) => targets[graphPath(directory, file)],
  };
}

/** Encoder and embeddings for a decoder that was named, where the directory has them. */
async function besides(directory: string): Promise<{ embed?: string; vision?: string; audio?: string }> {
  try {
    const { decoder: _decoder, ...rest } = (await openModelDirectory(directory)).graphs;
    return rest;
  } catch {
    return {}; // A directory of one graph, under a name of its own.
  }
}

/** "onnx/model.onnx" */
export function graphPath(directory: string, file: GraphFile): string {
  return relative(directory, resolve(file.folder, file.fileName)).replaceAll("\\", "/");
}
