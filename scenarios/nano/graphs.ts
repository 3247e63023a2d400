/**
 * The graphs that fedloom-nano is written as: three for its directory, in the layout of image-text models on the
 * hub, and three that only pretraining sees.
 */
import type { TensorSet } from "../../adapters/tensor.ts";
import {
  connector,
  decoder,
  embed,
  HEAD_DIM,
  NANO,
  type Parts,
  type Past,
  tiedHead,
  visionTower,
} from "./architecture.ts";
import { type Dim, GraphWriter } from "./graph-writer.ts";

const PIXELS: readonly Dim[] = ["images", 3, NANO.imageSide, NANO.imageSide];
const FEATURES: readonly Dim[] = ["images", NANO.imageTokens, NANO.hidden];

type Written = Uint8Array<ArrayBuffer>;

/** How weights lie in the file; arithmetic is float32 either way. */
export type Storage = "F32" | "F16";

function start(weights: TensorSet, storage?: Storage): Parts {
  return { graph: new GraphWriter(storage), weights };
}

/** onnx/vision_encoder.onnx: pixel_values -> image_features, the connector included. */
export function visionEncoderGraph(weights: TensorSet, storage?: Storage): Written {
  const parts = start(weights, storage);
  const features = visionTower(parts, parts.graph.input("pixel_values", "F32", PIXELS));
  parts.graph.output("image_features", connector(parts, features), "F32", FEATURES);
  return parts.graph.finish("vision_encoder");
}

/** onnx/embed_tokens.onnx: input_ids -> inputs_embeds. */
export function embedTokensGraph(weights: TensorSet, storage?: Storage): Written {
  const parts = start(weights, storage);
  const ids = parts.graph.input("input_ids", "I64", ["batch_size", "sequence_length"]);
  const shape = ["batch_size", "sequence_length", NANO.hidden];
  parts.graph.output("inputs_embeds", embed(parts, ids), "F32", shape);
  return parts.graph.finish("embed_tokens");
}

/** onnx/decoder_model_merged.onnx: inputs_embeds and the cache -> logits and the cache. */
export function decoderGraph(weights: TensorSet, storage?: Storage): Written {
  const parts = start(weights, storage);
  const { graph } = parts;
  const embeds = graph.input("inputs_embeds", "F32", ["batch_size", "sequence_length", NANO.hidden]);
  const mask = graph.input("attention_mask", "I64", ["batch_size", "total_sequence_length"]);
  const positions = graph.input("position_ids", "I64", ["batch_size", "sequence_length"]);
  const cache = (length: Dim): readonly Dim[] => ["batch_size", NANO.heads, length, HEAD_DIM];
  const past = Array.from(
    { length: NANO.layers },
    (_, i): Past => ({
      key: graph.input(`past_key_values.${i}.key`, "F32", cache("past_sequence_length")),
      value: graph.input(`past_key_values.${i}.value`, "F32", cache("past_sequence_length")),
    }),
  );
  const { hidden, present } = decoder(parts, { embeds, mask, positions, past });
  graph.output("logits", tiedHead(parts, hidden), "F32", [
    "batch_size",
    "sequence_length",
    vocabularyOf(weights),
  ]);
  present.forEach(({ key, value }, i) => {
    graph.output(`present.${i}.key`, key, "F32", cache("total_sequence_length"));
    graph.output(`present.${i}.value`, value, "F32", cache("total_sequence_length"));
  });
  return graph.finish("decoder_model_merged");
}

/** Pretraining, once the vision tower stands: its features alone, to keep them. */
export function visionTowerGraph(weights: TensorSet): Written {
  const parts = start(weights);
  const features = visionTower(parts, parts.graph.input("pixel_values", "F32", PIXELS));
  parts.graph.output("features", features, "F32", FEATURES);
  return parts.graph.finish("vision_tower");
}

/**
 * Pretraining, first stage: every image token names what its cell shows, through the word table.
 *
 * word_ids I64 [W] are the words that may be named, in groups (things, colors, rows, ...), and group_mask [G, W]
 * holds 0 inside a group and a large negative number outside; logits are [images * tokens * G, W].
 */
export function alignmentGraph(weights: TensorSet, groups: number): Written {
  const parts = start(weights);
  const { graph } = parts;
  const pixels = graph.input("pixel_values", "F32", PIXELS);
  const words = graph.input("word_ids", "I64", ["words"]);
  const groupMask = graph.input("group_mask", "F32", [groups, "words"]);
  const features = connector(parts, visionTower(parts, pixels));
  const rows = graph.node("Reshape", [features, graph.integers([-1, 1, NANO.hidden])], {}, "/alignment");
  const table = graph.node("Transpose", [embed(parts, words)], { perm: [1, 0] }, "/alignment");
  const scores = graph.node("MatMul", [rows, table], {}, "/alignment");
  const sharp = graph.node("Mul", [scores, graph.float(ALIGNMENT_SHARPNESS)], {}, "/alignment");
  const masked = graph.node("Add", [sharp, groupMask], {}, "/alignment");
  const width = graph.node("Shape", [words], {}, "/alignment");
  const shape = graph.node("Concat", [graph.integers([-1]), width], { axis: 0 }, "/alignment");
  graph.output("logits", graph.node("Reshape", [masked, shape], {}, "/alignment"), "F32", ["rows", "words"]);
  return graph.finish("alignment");
}

/** Rows of the word table have length about 1: without this factor no word could win clearly. */
const ALIGNMENT_SHARPNESS = 6;

/**
 * Pretraining, later stages: input_ids with features of the frozen tower -> logits. image_rows I64 [N, 1] are the
 * positions among all [B * S] that the N image tokens take; behind those positions lie N spare ones, where the
 * tokens of unused images go, so that every batch can hold the same number of images and one session serves it.
 */
export function languageGraph(weights: TensorSet): Written {
  const parts = start(weights);
  const { graph } = parts;
  const ids = graph.input("input_ids", "I64", ["batch_size", "sequence_length"]);
  const mask = graph.input("attention_mask", "I64", ["batch_size", "sequence_length"]);
  const positions = graph.input("position_ids", "I64", ["batch_size", "sequence_length"]);
  const features = graph.input("features", "F32", FEATURES);
  const rows = graph.input("image_rows", "I64", ["image_tokens", 1]);
  const words = embed(parts, ids);
  const flat = (x: string): string =>
    graph.node("Reshape", [x, graph.integers([-1, NANO.hidden])], {}, "/model");
  const images = flat(connector(parts, features));
  const roomy = graph.node("Concat", [flat(words), images], { axis: 0 }, "/model");
  const mixed = graph.node("ScatterND", [roomy, rows, images], {}, "/model");
  const count = graph.node("Shape", [flat(words)], {}, "/model");
  const end = graph.node("Slice", [count, graph.integers([0]), graph.integers([1])], {}, "/model");
  const used = graph.node("Slice", [mixed, graph.integers([0]), end, graph.integers([0])], {}, "/model");
  const embeds = graph.node("Reshape", [used, graph.node("Shape", [words], {}, "/model")], {}, "/model");
  const { hidden } = decoder(parts, { embeds, mask, positions, past: [] });
  graph.output("logits", tiedHead(parts, hidden), "F32", [
    "batch_size",
    "sequence_length",
    vocabularyOf(weights),
  ]);
  return graph.finish("language");
}

function vocabularyOf(weights: TensorSet): number {
  return weights.get("model.language_model.embed_tokens.weight")!.shape[0]!;
}
