/**
 * The parts of fedloom-nano as functions that write nodes: a small vision transformer, a connector, and a
 * decoder of the Llama family. One set of weights by PyTorch-like names serves every graph that is made of them:
 * the three of the published directory, and the ones that pretraining differentiates.
 *
 * Linear weights are stored [in, out], as MatMul takes them.
 */
import type { Tensor, TensorSet } from "../../adapters/tensor.ts";
import type { GraphWriter } from "./graph-writer.ts";

/** Sizes, from a recipe that was tried at this scale; the whole is about 1.4 million weights. */
export const NANO = {
  imageSide: 32,
  patch: 8,
  imageTokens: 16,
  hidden: 128,
  heads: 4,
  visionLayers: 3,
  visionMlp: 256,
  connector: 256,
  layers: 4,
  mlp: 320,
  positions: 1024,
  ropeTheta: 10_000,
  rmsEps: 1e-5,
  layerNormEps: 1e-6,
} as const;

export const HEAD_DIM = NANO.hidden / NANO.heads;
const PATCH_VALUES = 3 * NANO.patch ** 2;
const GRID = NANO.imageSide / NANO.patch;

/** What the graph functions draw on: a writer, and the weights it takes initializers from. */
export interface Parts {
  readonly graph: GraphWriter;
  readonly weights: TensorSet;
}

function weight({ graph, weights }: Parts, name: string): string {
  const tensor: Tensor | undefined = weights.get(name);
  if (tensor === undefined) throw new TypeError(`fedloom-nano has no weight "${name}"`);
  return graph.weight(name, tensor);
}

/** Node names follow module paths without the leading "model.", as exporters write them. */
const nodePath = (module: string): string =>
  `/${module
    .replace(/^model\./, "")
    .replaceAll(".", "/")
    .replaceAll(/layers\/(\d+)/g, "layers.$1")}`;

function linear(parts: Parts, module: string, x: string, bias: boolean): string {
  const product = parts.graph.node("MatMul", [x, weight(parts, `${module}.weight`)], {}, nodePath(module));
  if (!bias) return product;
  return parts.graph.node("Add", [product, weight(parts, `${module}.bias`)], {}, nodePath(module));
}

function layerNorm(parts: Parts, module: string, x: string): string {
  const inputs = [x, weight(parts, `${module}.weight`), weight(parts, `${module}.bias`)];
  return parts.graph.node(
    "LayerNormalization",
    inputs,
    { axis: -1, epsilon: { float: NANO.layerNormEps } },
    nodePath(module),
  );
}

function rmsNorm(parts: Parts, module: string, x: string): string {
  const { graph } = parts;
  const path = nodePath(module);
  const square = graph.node("Mul", [x, x], {}, path);
  const mean = graph.node("ReduceMean", [square, graph.integers([-1])], { keepdims: 1 }, path);
  const root = graph.node("Sqrt", [graph.node("Add", [mean, graph.float(NANO.rmsEps)], {}, path)], {}, path);
  const normal = graph.node("Div", [x, root], {}, path);
  return graph.node("Mul", [normal, weight(parts, `${module}.weight`)], {}, path);
}

/** [B, S, H] to [B, heads, S, head dim]. */
function splitHeads({ graph }: Parts, x: string, path: string): string {
  const split = graph.node("Reshape", [x, graph.integers([0, 0, NANO.heads, HEAD_DIM])], {}, path);
  return graph.node("Transpose", [split], { perm: [0, 2, 1, 3] }, path);
}

function joinHeads({ graph }: Parts, x: string, path: string): string {
  const joined = graph.node("Transpose", [x], { perm: [0, 2, 1, 3] }, path);
  return graph.node("Reshape", [joined, graph.integers([0, 0, NANO.hidden])], {}, path);
}

/** @param mask added to the scores, if given */
function attend({ graph }: Parts, q: string, k: string, v: string, path: string, mask?: string): string {
  const turned = graph.node("Transpose", [k], { perm: [0, 1, 3, 2] }, path);
  const product = graph.node("MatMul", [q, turned], {}, path);
  const scaled = graph.node("Mul", [product, graph.float(HEAD_DIM ** -0.5)], {}, path);
  const scores = mask === undefined ? scaled : graph.node("Add", [scaled, mask], {}, path);
  const shares = graph.node("Softmax", [scores], { axis: -1 }, path);
  return graph.node("MatMul", [shares, v], {}, path);
}

/** pixel_values [I, 3, 32, 32] to patch features [I, 16, H] after the last norm of the encoder. */
export function visionTower(parts: Parts, pixels: string): string {
  const { graph } = parts;
  const tower = "model.vision_tower";
  const path = nodePath(`${tower}.embeddings`);
  const grid = graph.node(
    "Reshape",
    [pixels, graph.integers([0, 3, GRID, NANO.patch, GRID, NANO.patch])],
    {},
    path,
  );
  const turned = graph.node("Transpose", [grid], { perm: [0, 2, 4, 1, 3, 5] }, path);
  const patches = graph.node("Reshape", [turned, graph.integers([0, GRID * GRID, PATCH_VALUES])], {}, path);
  const embedded = linear(parts, `${tower}.embeddings.patch_embedding`, patches, true);
  let x = graph.node(
    "Add",
    [embedded, weight(parts, `${tower}.embeddings.position_embedding.weight`)],
    {},
    path,
  );
  for (let i = 0; i < NANO.visionLayers; i++) x = visionBlock(parts, `${tower}.encoder.layers.${i}`, x);
  return layerNorm(parts, `${tower}.post_layernorm`, x);
}

function visionBlock(parts: Parts, module: string, x: string): string {
  const { graph } = parts;
  const path = nodePath(`${module}.self_attn`);
  const normal = layerNorm(parts, `${module}.layer_norm1`, x);
  const [q, k, v] = ["q_proj", "k_proj", "v_proj"].map((name) =>
    splitHeads(parts, linear(parts, `${module}.self_attn.${name}`, normal, true), path),
  );
  const joined = joinHeads(parts, attend(parts, q!, k!, v!, path), path);
  const attended = graph.node(
    "Add",
    [x, linear(parts, `${module}.self_attn.out_proj`, joined, true)],
    {},
    path,
  );
  const inner = linear(parts, `${module}.mlp.fc1`, layerNorm(parts, `${module}.layer_norm2`, attended), true);
  const active = graph.node("Gelu", [inner], {}, nodePath(`${module}.mlp`));
  return graph.node(
    "Add",
    [attended, linear(parts, `${module}.mlp.fc2`, active, true)],
    {},
    nodePath(module),
  );
}

/** Patch features [I, 16, H] to rows in the decoder's embedding space. */
export function connector(parts: Parts, features: string): string {
  const inner = linear(parts, "model.multi_modal_projector.linear_1", features, true);
  const active = parts.graph.node("Gelu", [inner], {}, "/multi_modal_projector");
  return linear(parts, "model.multi_modal_projector.linear_2", active, true);
}

/** Keys and values of earlier positions, [B, heads, P, head dim] each. */
export interface Past {
  readonly key: string;
  readonly value: string;
}

export interface DecoderInputs {
  /** [B, S, H] */
  readonly embeds: string;
  /** I64 [B, P + S], 0 where a position is padding. */
  readonly mask: string;
  /** I64 [B, S] */
  readonly positions: string;
  /** One a layer, or none for training without a cache. */
  readonly past: readonly Past[];
}

/** @returns hidden states after the last norm [B, S, H], and the keys and values of all positions so far */
export function decoder(parts: Parts, inputs: DecoderInputs): { hidden: string; present: Past[] } {
  const { graph } = parts;
  const rotary = rotaryTables(parts, inputs.positions);
  const mask = causalMask(parts, inputs);
  const present: Past[] = [];
  let x = inputs.embeds;
  for (let i = 0; i < NANO.layers; i++) {
    const module = `model.language_model.layers.${i}`;
    const path = `/model/layers.${i}`;
    const normal = rmsNorm(parts, `${module}.input_layernorm`, x);
    const attention = selfAttention(parts, module, normal, rotary, mask, inputs.past[i]);
    present.push(attention.present);
    x = graph.node("Add", [x, attention.output], {}, path);
    const inner = rmsNorm(parts, `${module}.post_attention_layernorm`, x);
    const gate = linear(parts, `${module}.mlp.gate_proj`, inner, false);
    const silu = graph.node("Mul", [gate, graph.node("Sigmoid", [gate], {}, path)], {}, path);
    const up = linear(parts, `${module}.mlp.up_proj`, inner, false);
    const down = linear(parts, `${module}.mlp.down_proj`, graph.node("Mul", [silu, up], {}, path), false);
    x = graph.node("Add", [x, down], {}, path);
  }
  return { hidden: rmsNorm(parts, "model.language_model.norm", x), present };
}

interface Rotary {
  /** [B, 1, S, head dim] each. */
  readonly cos: string;
  readonly sin: string;
}

function selfAttention(
  parts: Parts,
  module: string,
  x: string,
  rotary: Rotary,
  mask: string,
  past: Past | undefined,
): { output: string; present: Past } {
  const { graph } = parts;
  const path = nodePath(`${module}.self_attn`);
  const [q, k, v] = ["q_proj", "k_proj", "v_proj"].map((name) =>
    splitHeads(parts, linear(parts, `${module}.self_attn.${name}`, x, false), path),
  );
  const turned = rotate(parts, k!, rotary, path);
  const key = past === undefined ? turned : graph.node("Concat", [past.key, turned], { axis: 2 }, path);
  const value = past === undefined ? v! : graph.node("Concat", [past.value, v!], { axis: 2 }, path);
  const joined = joinHeads(
    parts,
    attend(parts, rotate(parts, q!, rotary, path), key, value, path, mask),
    path,
  );
  return { output: linear(parts, `${module}.self_attn.o_proj`, joined, false), present: { key, value } };
}

/** x cos + rotate_half(x) sin, halves paired as Llama pairs them. */
function rotate({ graph }: Parts, x: string, { cos, sin }: Rotary, path: string): string {
  const half = HEAD_DIM / 2;
  const slice = (from: number, to: number): string =>
    graph.node("Slice", [x, graph.integers([from]), graph.integers([to]), graph.integers([3])], {}, path);
  const turned = graph.node(
    "Concat",
    [graph.node("Neg", [slice(half, HEAD_DIM)], {}, path), slice(0, half)],
    { axis: 3 },
    path,
  );
  const straight = graph.node("Mul", [x, cos], {}, path);
  return graph.node("Add", [straight, graph.node("Mul", [turned, sin], {}, path)], {}, path);
}

function rotaryTables(parts: Parts, positions: string): Rotary {
  const { graph } = parts;
  const half = HEAD_DIM / 2;
  const table = (name: string, of: (angle: number) => number): string => {
    const data = new Float32Array(NANO.positions * HEAD_DIM);
    for (let p = 0; p < NANO.positions; p++) {
      for (let i = 0; i < HEAD_DIM; i++)
        data[p * HEAD_DIM + i] = of(p * NANO.ropeTheta ** (-(i % half) / half));
    }
    const full = graph.weight(name, { dtype: "F32", shape: [NANO.positions, HEAD_DIM], data });
    const rows = graph.node("Gather", [full, positions], { axis: 0 }, "/model/rotary_emb");
    return graph.node("Unsqueeze", [rows, graph.integers([1])], {}, "/model/rotary_emb");
  };
  return { cos: table("rotary.cos", Math.cos), sin: table("rotary.sin", Math.sin) };
}

/** What a masked score gets added: far below any score, and finite, so that a row of padding stays a number. */
const MASKED = -1e9;

/** [B, 1, S, P + S]: 0 where the key is no padding and not later than the query, else MASKED. */
function causalMask({ graph }: Parts, { mask, embeds }: DecoderInputs): string {
  const path = "/model/mask";
  const dim = (of: string, axis: number): string =>
    graph.node("Gather", [graph.node("Shape", [of], {}, path), graph.integer(axis)], { axis: 0 }, path);
  const total = dim(mask, 1);
  const past = graph.node("Sub", [total, dim(embeds, 1)], {}, path);
  const one = graph.integer(1);
  const keys = graph.node("Range", [graph.integer(0), total, one], {}, path);
  const queries = graph.node(
    "Unsqueeze",
    [graph.node("Range", [past, total, one], {}, path), graph.integers([1])],
    {},
    path,
  );
  const earlier = graph.node("LessOrEqual", [keys, queries], {}, path);
  const real = graph.node("Cast", [mask], { to: 9 }, path);
  const seen = graph.node("Unsqueeze", [real, graph.integers([1, 2])], {}, path);
  const both = graph.node("And", [earlier, seen], {}, path);
  return graph.node("Where", [both, graph.float(0), graph.float(MASKED)], {}, path);
}

/** Hidden states [.., H] to logits [.., V] through the embedding table, which serves as head too. */
export function tiedHead(parts: Parts, hidden: string): string {
  const table = parts.graph.node("Transpose", [weight(parts, EMBEDDING)], { perm: [1, 0] }, "/lm_head");
  return parts.graph.node("MatMul", [hidden, table], {}, "/lm_head");
}

export const EMBEDDING = "model.language_model.embed_tokens.weight";

/** input_ids [B, S] to rows of the embedding table. */
export function embed(parts: Parts, ids: string): string {
  return parts.graph.node("Gather", [weight(parts, EMBEDDING), ids], { axis: 0 }, "/model/embed_tokens");
}
