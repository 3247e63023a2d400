/**
 * Proof that what stands before a decoder can be trained: LoRA on each linear layer of an encoder's graph, a random picture
 * or sound, and the loss of the whole model, which must change along each part's gradient as that says.
 */
import { join } from "node:path";
import { z } from "zod";
import { float32, sizeOf, type Tensor, type TensorSet, tensor, tensorSet } from "../../adapters/tensor.ts";
import { FedloomError } from "../../base/errors.ts";
import type { Rng } from "../../base/rng.ts";
import { readJson } from "../../training/models/json-file.ts";
import { readModelConfig } from "../../training/models/model-config.ts";
import { moduleName, type Part } from "../../training/models/module-paths.ts";
import { openComposite } from "../../training/onnx/composite.ts";
import type { Batch, EngineOptions, GraphFile } from "../../training/onnx/engine.ts";
import type { GraphInput } from "../../training/onnx/graph.ts";
import { openEngine } from "../../training/onnx/open.ts";
import { prepareGraph } from "../../training/onnx/prepare.ts";
import { centralDifference, randomFactors } from "./central-difference.ts";
import { graphPath, type ModelGraphs } from "./graphs.ts";

export interface PartProof {
  readonly part: Part;
  readonly graph: string;
  /** Largest relative difference, and along how many directions. */
  readonly error?: number;
  readonly directions?: number;
  /** Why the part cannot be trained, where it cannot. */
  readonly reason?: string;
}

type Runtime = Pick<EngineOptions, "device" | "threads">;

/** @returns a proof for each part of each encoder; none where the model has no encoder */
export async function encoderProofs(graphs: ModelGraphs, runtime: Runtime, rng: Rng): Promise<PartProof[]> {
  const proofs: PartProof[] = [];
  for (const encoder of graphs.encoders) proofs.push(...(await proofsOf(graphs, encoder, runtime, rng)));
  return proofs;
}

async function proofsOf(
  graphs: ModelGraphs,
  { kind, file, tokenId }: ModelGraphs["encoders"][number],
  runtime: Runtime,
  rng: Rng,
): Promise<PartProof[]> {
  const config = await readModelConfig(graphs.directory);
  const mapping = graphs.mappingOf(file) ?? {};
  const prepared = prepareGraph({ file, mapping });
  const named = prepared.modules.map((module) => ({
    ...module,
    ...moduleName(config, kind === "image" ? "vision" : "audio", module.path),
  }));
  const graph = graphPath(graphs.directory, file);
  const parts = Map.groupBy(named, ({ part }) => part);
  try {
    if (tokenId === undefined || graphs.embed === undefined)
      throw new FedloomError(
        "F2110",
        `Cannot place ${kind} features: the model must have ${graphs.embed ? `an ${kind} token in config.json` : "a graph of its token embeddings"}, got none`,
      );
    const media = await randomMedia(graphs.directory, prepared.graph.inputs, rng.fork("media"));
    const model = await openComposite({
      ...{ decoder: graphs.decoder, embed: graphs.embed, encoders: [{ file, tokenId, mapping }] },
      ...{ ...runtime, mapping: graphs.mappingOf(graphs.decoder) ?? {} },
      lora: named.map(({ path }) => ({ path, rank: RANK, scale: 2 })),
      objective: "tokens",
    });
    try {
      const batch = await batchWith(media, {
        ...{ file, mapping, token: tokenId, runtime },
        rng: rng.fork("tokens"),
      });
      const parameters = randomFactors(named, RANK, rng);
      const proofs: PartProof[] = [];
      for (const [part, modules] of parts) {
        const own = modules.map(({ path }) => `.${path}.lora_`);
        const isOwn = (name: string): boolean => own.some((path) => name.includes(path));
        const directions = rng.fork("part", part);
        const { error, directions: count } = await centralDifference(
          model,
          batch,
          parameters,
          directions,
          isOwn,
        );
        proofs.push({ part, graph, error, directions: count });
      }
      return proofs;
    } finally {
      await model.close();
    }
  } catch (error) {
    if (!(error instanceof FedloomError)) throw error;
    return [...parts.keys()].map((part) => ({ part, graph, reason: error.message }));
  }
}

const RANK = 8;
/** Tokens of text behind the features. */
const TEXT = 12;

/** One example: the features' tokens, then random ones, which are labelled. */
async function batchWith(
  media: TensorSet,
  how: {
    readonly file: GraphFile;
    readonly mapping: EngineOptions["mapping"];
    readonly token: number;
    readonly runtime: Runtime;
    readonly rng: Rng;
  },
): Promise<Batch> {
  const { file, mapping = {}, token, runtime, rng } = how;
  const encoder = await openEngine({ file, mapping, lora: [], objective: "none", ...runtime });
  const features = await encoder.forward({ inputs: media }, new Map());
  await encoder.close();
  const count = sizeOf(features.shape.slice(0, -1));
  const length = count + TEXT;
  const row = (value: (at: number) => number): Tensor =>
    tensor(
      "I64",
      [1, length],
      BigInt64Array.from({ length }, (_, at) => BigInt(value(at))),
    );
  const other = token === 0 ? 1 : 0;
  const drawn = (): number => {
    const id = rng.below(COMMON);
    return id === token ? other : id;
  };
  const ids = row((at) => (at < count ? token : drawn()));
  const labels = row((at) => (at < count ? -100 : rng.below(COMMON)));
  return { inputs: tensorSet([...media, ["input_ids", ids]]), labels };
}

/** Tokens that every vocabulary has. */
const COMMON = 50;

const sizes = z.object({
  vision_config: z.object({ image_size: z.int().nullish() }).nullish(),
  audio_config: z
    .object({ num_mel_bins: z.int().nullish(), max_source_positions: z.int().nullish() })
    .nullish(),
});

/** What an encoder takes, one picture or sound of noise; masks say that all of it is there. */
async function randomMedia(directory: string, inputs: readonly GraphInput[], rng: Rng): Promise<TensorSet> {
  const { vision_config: vision, audio_config: audio } = await readJson(
    join(directory, "config.json"),
    sizes,
  );
  const side = vision?.image_size ?? 224;
  const frames = 2 * (audio?.max_source_positions ?? 1500);
  return tensorSet(
    inputs.map(({ name, type, shape }) => {
      const ends = /^pixel/.test(name)
        ? [...(name === "pixel_values" ? [3] : []), side, side]
        : [...(type === "F32" || type === "F16" ? [audio?.num_mel_bins ?? 80] : []), frames];
      const dims = shape.map((dim, axis) =>
        typeof dim === "number" ? dim : (ends[axis - shape.length + ends.length] ?? 1),
      );
      const count = sizeOf(dims);
      if (type === "BOOL") return [name, tensor("BOOL", dims, new Uint8Array(count).fill(1))];
      if (type === "I64") return [name, tensor("I64", dims, new BigInt64Array(count).fill(1n))];
      return [
        name,
        float32(
          dims,
          Float32Array.from({ length: count }, () => rng.normal()),
        ),
      ];
    }),
  );
}
