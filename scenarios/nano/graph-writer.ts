/**
 * Writes an ONNX graph node by node, for a model that has no exporter behind it: each call adds a node and
 * gives the name of its result. Dimensions may be symbols. Constants are shared by value.
 */

import { cast } from "../../adapters/cast.ts";
import { type DType, sizeOf, type Tensor } from "../../adapters/tensor.ts";
import { encodeModel } from "../../training/onnx/format/codec.ts";
import type {
  AttributeProto,
  NodeProto,
  TensorProto,
  ValueInfoProto,
} from "../../training/onnx/format/schema.ts";

/** Numbers of ONNX's TensorProto.DataType. */
const DATA_TYPE: Partial<Record<DType, number>> = { F32: 1, U8: 2, I64: 7, BOOL: 9, F16: 10 };
/** Numbers of ONNX's AttributeProto.AttributeType. */
const ATTRIBUTE = { float: 1, int: 2, ints: 7 } as const;
/** The newest operator set that every runtime of the last years reads; Gelu and LayerNormalization are in it. */
const OPSET = 20;
const IR_VERSION = 9;

export type Dim = number | string;
type AttributeValue = number | readonly number[] | { readonly float: number };

export class GraphWriter {
  readonly #nodes: NodeProto[] = [];
  readonly #initializers: TensorProto[] = [];
  readonly #inputs: ValueInfoProto[] = [];
  readonly #outputs: ValueInfoProto[] = [];
  readonly #constants = new Map<string, string>();
  /** By name, what a node takes to read the weight. */
  readonly #weights = new Map<string, string>();
  readonly #storage: "F32" | "F16";
  readonly #names = new Set<string>();

  /** @param storage F16 halves the file: weights are stored in half precision and computed with in single */
  constructor(storage: "F32" | "F16" = "F32") {
    this.#storage = storage;
  }

  input(name: string, dtype: DType, shape: readonly Dim[]): string {
    this.#inputs.push(valueInfo(name, dtype, shape));
    return name;
  }

  output(name: string, from: string, dtype: DType, shape: readonly Dim[]): void {
    this.#nodes.push({ opType: "Identity", name: `/${name}/Identity`, input: [from], output: [name] });
    this.#outputs.push(valueInfo(name, dtype, shape));
  }

  /** The initializer of that name; asked for twice, it is there once. */
  weight(name: string, value: Tensor): string {
    const known = this.#weights.get(name);
    if (known !== undefined) return known;
    this.#names.add(name);
    const halved = this.#storage === "F16" && value.dtype === "F32" && value.data.length > 1;
    const { dtype, shape, data } = halved ? cast(value, "F16") : value;
    const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.#initializers.push({ name, dims: [...shape], dataType: DATA_TYPE[dtype]!, rawData });
    const read = halved ? this.node("Cast", [name], { to: DATA_TYPE.F32! }, `/${name}`) : name;
    this.#weights.set(name, read);
    return read;
  }

  integers(values: readonly number[]): string {
    return this.#constant("I64", [values.length], BigInt64Array.from(values, BigInt));
  }

  integer(value: number): string {
    return this.#constant("I64", [], BigInt64Array.of(BigInt(value)));
  }

  float(value: number): string {
    return this.#constant("F32", [], Float32Array.of(value));
  }

  /** @param path module path of the node, dots as slashes: "/model/layers.0/self_attn" */
  node(
    op: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
    path = "",
  ): string {
    const name = this.#unused(`${path}/${op}`);
    const attribute = Object.entries(attributes).map(([key, value]) => attributeOf(key, value));
    this.#nodes.push({ opType: op, name, input: [...inputs], output: [`${name}_output_0`], attribute });
    return `${name}_output_0`;
  }

  finish(name: string): Uint8Array<ArrayBuffer> {
    return encodeModel({
      irVersion: IR_VERSION,
      producerName: "fedloom",
      opsetImport: [{ domain: "", version: OPSET }],
      graph: {
        name,
        node: this.#nodes,
        initializer: this.#initializers,
        input: this.#inputs,
        output: this.#outputs,
      },
    });
  }

  #constant(dtype: DType, shape: readonly number[], data: BigInt64Array | Float32Array): string {
    const key = `${dtype} [${shape}] ${data.join(" ")}`;
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    if (data.length !== sizeOf(shape)) throw new TypeError(`Shape [${shape}] does not hold ${data.length}`);
    const name = this.weight(this.#unused("constant"), { dtype, shape, data });
    this.#constants.set(key, name);
    return name;
  }

  #unused(wanted: string): string {
    let name = wanted;
    for (let i = 1; this.#names.has(name); i++) name = `${wanted}_${i}`;
    this.#names.add(name);
    return name;
  }
}

function attributeOf(name: string, value: AttributeValue): AttributeProto {
  if (typeof value === "number") return { name, i: value, type: ATTRIBUTE.int };
  if ("float" in value) return { name, f: value.float, type: ATTRIBUTE.float };
  return { name, ints: [...value], type: ATTRIBUTE.ints };
}

function valueInfo(name: string, dtype: DType, shape: readonly Dim[]): ValueInfoProto {
  const dim = shape.map((d) => (typeof d === "number" ? { dimValue: d } : { dimParam: d }));
  return { name, type: { tensorType: { elemType: DATA_TYPE[dtype]!, shape: { dim } } } };
}
