/**
 * A text decoder of SmolVLM-256M's shape with random weights, as an exporter of plain operators writes it:
 * dynamic batch and length, RMSNorm in its parts, keys and values repeated by Expand, a mask from attention_mask.
 */
import { closeSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { createRng } from "../../base/rng.ts";
import { encodeModel } from "../../training/onnx/format/codec.ts";
import type { AttributeProto, NodeProto, TensorProto } from "../../training/onnx/format/schema.ts";

export interface DecoderShape {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly headSize: number;
  readonly ffn: number;
  readonly vocabulary: number;
}

export const SMOLVLM_256M: DecoderShape = {
  layers: 30,
  hidden: 576,
  heads: 9,
  keyHeads: 3,
  headSize: 64,
  ffn: 1536,
  vocabulary: 49_280,
};

/** @returns the path of the graph; its weights lie beside it */
export function writeDecoder(folder: string, shape: DecoderShape): string {
  const writer = new GraphWriter(folder);
  const { hidden, heads, keyHeads, headSize, ffn } = shape;
  const [cos, sin] = rotaryTables(writer, headSize);
  const mask = causalMask(writer);
  let x = "inputs_embeds";
  for (let layer = 0; layer < shape.layers; layer++) {
    const at = `/model/layers.${layer}`;
    const normal = rmsNorm(writer, x, hidden, `${at}/input_layernorm`);
    const project = (role: string, out: number): string =>
      writer.linear(normal, hidden, out, `${at}/self_attn/${role}_proj`);
    const split = (value: string, count: number): string =>
      writer.op("Transpose", [writer.op("Reshape", [value, writer.ints([0, 0, count, headSize])])], {
        perm: [0, 2, 1, 3],
      });
    const q = rotate(writer, split(project("q", heads * headSize), heads), cos, sin, headSize);
    const k = rotate(writer, split(project("k", keyHeads * headSize), keyHeads), cos, sin, headSize);
    const v = split(project("v", keyHeads * headSize), keyHeads);
    const group = heads / keyHeads;
    const repeated = (value: string): string => repeatHeads(writer, value, group, heads, headSize);
    const turned = writer.op("Transpose", [repeated(k)], { perm: [0, 1, 3, 2] });
    const scores = writer.op("Mul", [writer.op("MatMul", [q, turned]), writer.scalar(headSize ** -0.5)]);
    const weights = writer.op("Softmax", [writer.op("Add", [scores, mask])], { axis: -1 });
    const context = writer.op("Transpose", [writer.op("MatMul", [weights, repeated(v)])], {
      perm: [0, 2, 1, 3],
    });
    const flat = writer.op("Reshape", [context, writer.ints([0, 0, heads * headSize])]);
    const attended = writer.linear(flat, heads * headSize, hidden, `${at}/self_attn/o_proj`);
    x = writer.op("Add", [x, attended]);
    const second = rmsNorm(writer, x, hidden, `${at}/post_attention_layernorm`);
    const gate = writer.linear(second, hidden, ffn, `${at}/mlp/gate_proj`);
    const active = writer.op("Mul", [gate, writer.op("Sigmoid", [gate])]);
    const product = writer.op("Mul", [active, writer.linear(second, hidden, ffn, `${at}/mlp/up_proj`)]);
    x = writer.op("Add", [x, writer.linear(product, ffn, hidden, `${at}/mlp/down_proj`)]);
  }
  const final = rmsNorm(writer, x, hidden, "/model/norm");
  writer.linear(final, hidden, shape.vocabulary, "/lm_head", "logits");
  return writer.save(shape);
}

function rmsNorm(writer: GraphWriter, x: string, hidden: number, at: string): string {
  const square = writer.op("Pow", [x, writer.scalar(2)]);
  const mean = writer.op("ReduceMean", [square, writer.ints([-1])], { keepdims: 1 });
  const deviation = writer.op("Sqrt", [writer.op("Add", [mean, writer.scalar(1e-5)])]);
  const inverse = writer.op("Div", [writer.scalar(1), deviation]);
  const rng = createRng(at);
  const scale = Float32Array.from({ length: hidden }, () => 0.5 + rng.uniform());
  return writer.op("Mul", [writer.op("Mul", [x, inverse]), writer.floats([hidden], scale)], {}, `${at}/Mul`);
}

/** cos and sin [B, 1, S, size] of positions times frequencies. */
function rotaryTables(writer: GraphWriter, size: number): [string, string] {
  const half = size / 2;
  const frequencies = Float32Array.from({ length: half }, (_, i) => 100_000 ** (-i / half));
  const positions = writer.op("Cast", ["position_ids"], { to: 1 });
  const column = writer.op("Unsqueeze", [positions, writer.ints([2])]);
  const angles = writer.op("Mul", [column, writer.floats([1, 1, half], frequencies)]);
  const both = writer.op("Unsqueeze", [
    writer.op("Concat", [angles, angles], { axis: -1 }),
    writer.ints([1]),
  ]);
  return [writer.op("Cos", [both]), writer.op("Sin", [both])];
}

function rotate(writer: GraphWriter, x: string, cos: string, sin: string, size: number): string {
  const part = (from: number, to: number): string =>
    writer.op("Slice", [x, writer.ints([from]), writer.ints([to]), writer.ints([3]), writer.ints([1])]);
  const turned = writer.op("Concat", [writer.op("Neg", [part(size / 2, size)]), part(0, size / 2)], {
    axis: -1,
  });
  return writer.op("Add", [writer.op("Mul", [x, cos]), writer.op("Mul", [turned, sin])]);
}

/** [B, K, S, D] -> [B, K * group, S, D] */
function repeatHeads(writer: GraphWriter, x: string, group: number, heads: number, size: number): string {
  const apart = writer.op("Unsqueeze", [x, writer.ints([2])]);
  const wide = writer.op("Expand", [apart, writer.ints([1, 1, group, 1, 1])]);
  const shape = writer.op("Shape", [x]);
  const dim = (i: number): string => writer.op("Gather", [shape, writer.ints([i])], { axis: 0 });
  const target = writer.op("Concat", [dim(0), writer.ints([heads]), dim(2), writer.ints([size])], {
    axis: 0,
  });
  return writer.op("Reshape", [wide, target]);
}

/** [B, 1, S, S]: 0 where a position is seen, the smallest float where not. */
function causalMask(writer: GraphWriter): string {
  const shape = writer.op("Shape", ["attention_mask"]);
  const length = writer.op("Squeeze", [writer.op("Gather", [shape, writer.ints([1])], { axis: 0 })]);
  const range = writer.op("Range", [writer.int(0), length, writer.int(1)]);
  const row = writer.op("Unsqueeze", [range, writer.ints([0])]);
  const column = writer.op("Unsqueeze", [range, writer.ints([1])]);
  const causal = writer.op("Unsqueeze", [writer.op("LessOrEqual", [row, column]), writer.ints([0, 1])]);
  const real = writer.op("Greater", ["attention_mask", writer.int(0)]);
  const seen = writer.op("And", [causal, writer.op("Unsqueeze", [real, writer.ints([1, 2])])]);
  return writer.op("Where", [seen, writer.scalar(0), writer.scalar(-3.4028234663852886e38)]);
}

const DATA_FILE = "model.onnx_data";

class GraphWriter {
  readonly #folder: string;
  readonly #nodes: NodeProto[] = [];
  readonly #initializers: TensorProto[] = [];
  readonly #data: number;
  #offset = 0;

  constructor(folder: string) {
    this.#folder = folder;
    this.#data = openSync(join(folder, DATA_FILE), "w");
  }

  op(
    opType: string,
    input: string[],
    attributes: Record<string, number | number[]> = {},
    name?: string,
  ): string {
    const output = `${name ?? opType}_${this.#nodes.length}`;
    this.#nodes.push({
      opType,
      name: name ?? output,
      input,
      output: [output],
      attribute: attributesOf(attributes),
    });
    return output;
  }

  /** x W with W [in, out] random in the data file. */
  linear(x: string, width: number, out: number, path: string, output = `${path}/MatMul_output_0`): string {
    const weight = this.#random(`onnx::MatMul_${this.#nodes.length}`, [width, out]);
    this.#nodes.push({ opType: "MatMul", name: `${path}/MatMul`, input: [x, weight], output: [output] });
    return output;
  }

  ints(values: number[]): string {
    return this.#constant(
      7,
      [values.length],
      BigInt64Array.from(values, (v) => BigInt(v)),
    );
  }

  int(value: number): string {
    return this.#constant(7, [], BigInt64Array.of(BigInt(value)));
  }

  scalar(value: number): string {
    return this.#constant(1, [], Float32Array.of(value));
  }

  floats(dims: number[], values: Float32Array): string {
    return this.#constant(1, dims, values);
  }

  save({ hidden, vocabulary }: DecoderShape): string {
    closeSync(this.#data);
    const tokens = [{ dimParam: "batch_size" }, { dimParam: "sequence_length" }];
    const info = (name: string, elemType: number, dim: object[]) => ({
      name,
      type: { tensorType: { elemType, shape: { dim } } },
    });
    const path = join(this.#folder, "model.onnx");
    const model = encodeModel({
      irVersion: 8,
      opsetImport: [{ domain: "", version: 18 }],
      graph: {
        name: "decoder",
        node: this.#nodes,
        initializer: this.#initializers,
        input: [
          info("inputs_embeds", 1, [...tokens, { dimValue: hidden }]),
          info("attention_mask", 7, tokens),
          info("position_ids", 7, tokens),
        ],
        output: [info("logits", 1, [...tokens, { dimValue: vocabulary }])],
      },
    });
    writeFileSync(path, model);
    return path;
  }

  #constant(dataType: number, dims: number[], values: BigInt64Array | Float32Array): string {
    const name = `constant_${this.#initializers.length}`;
    const rawData = new Uint8Array(values.buffer);
    this.#initializers.push({ name, dataType, dims, rawData });
    return name;
  }

  #random(name: string, dims: [number, number]): string {
    const rng = createRng(name);
    const spread = 1 / Math.sqrt(dims[0]);
    // Uniform is enough for a matrix that only has to be multiplied with.
    const values = Float32Array.from(
      { length: dims[0] * dims[1] },
      () => (rng.uniform() - 0.5) * 3.46 * spread,
    );
    const entries = { location: DATA_FILE, offset: this.#offset, length: values.byteLength };
    const externalData = Object.entries(entries).map(([key, value]) => ({ key, value: String(value) }));
    writeSync(this.#data, new Uint8Array(values.buffer));
    this.#offset += values.byteLength;
    this.#initializers.push({ name, dataType: 1, dims, dataLocation: 1, externalData });
    return name;
  }
}

function attributesOf(attributes: Record<string, number | number[]>): AttributeProto[] {
  return Object.entries(attributes).map(([name, value]) =>
    Array.isArray(value) ? { name, type: 7, ints: value } : { name, type: 2, i: value },
  );
}
