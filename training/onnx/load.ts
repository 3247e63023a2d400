/** Reads a graph file into a `Graph`. */
import { FedloomError, messageOf } from "../../base/errors.ts";
import type { GraphFile } from "./engine.ts";
import { decodeModel } from "./format/codec.ts";
import type {
  AttributeProto,
  FunctionProto,
  GraphProto,
  ModelProto,
  NodeProto,
  OperatorSetProto,
  TensorProto,
  ValueInfoProto,
} from "./format/schema.ts";
import type { Attribute, Graph, GraphInput, GraphNode } from "./graph.ts";
import { byteSize, type ElementType, elementType, type Weight } from "./weight.ts";

/** A function of the model: a body of nodes that a node of that name and domain stands for. */
export interface GraphFunction {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Defaults of its attributes, where it states them. */
  readonly defaults: Readonly<Record<string, Attribute>>;
  readonly nodes: readonly GraphNode[];
}

export interface LoadedModel {
  readonly graph: Graph;
  /** By `functionKey(domain, name)`. */
  readonly functions: ReadonlyMap<string, GraphFunction>;
}

export const functionKey = (domain: string, name: string): string => `${domain}::${name}`;

/** Tensors up to this size are copied out of the file, so that its bytes can be forgotten. */
const SMALL_BYTES = 4096;

/** @throws FedloomError F2110 where the file is no ONNX model or holds what we do not read */
export function loadGraph(file: GraphFile): LoadedModel {
  let model: ModelProto;
  try {
    model = decodeModel(file.bytes);
  } catch (cause) {
    throw new FedloomError("F2110", `Cannot read "${file.name}": ${messageOf(cause)}`, {}, { cause });
  }
  if (model.graph === undefined)
    throw new FedloomError("F2110", `Cannot read "${file.name}": it must be an ONNX model, got no graph`);
  const reader = new Reader(file);
  return {
    graph: reader.graph(model.graph, opsetsOf(model.opsetImport)),
    functions: new Map((model.functions ?? []).map((f) => reader.function(f))),
  };
}

function opsetsOf(imports: readonly OperatorSetProto[] | undefined): ReadonlyMap<string, number> {
  return new Map((imports ?? []).map((set) => [domainOf(set.domain), set.version ?? 1]));
}

function domainOf(domain: string | undefined): string {
  return domain === undefined || domain === "ai.onnx" ? "" : domain;
}

class Reader {
  readonly #file: GraphFile;

  constructor(file: GraphFile) {
    this.#file = file;
  }

  graph(proto: GraphProto, opsets: ReadonlyMap<string, number>): Graph {
    const weights = new Map((proto.initializer ?? []).map((t) => [t.name ?? "", this.#weight(t)]));
    return {
      nodes: (proto.node ?? []).map((node) => this.#node(node)),
      // Older files list their initializers among the inputs.
      inputs: (proto.input ?? []).filter((i) => !weights.has(i.name ?? "")).map((i) => this.#input(i)),
      outputs: (proto.output ?? []).map((output) => output.name ?? ""),
      weights,
      opsets,
    };
  }

  function(proto: FunctionProto): [string, GraphFunction] {
    const defaults = (proto.attributeProto ?? []).map((a) => [a.name ?? "", this.#attribute(a)] as const);
    return [
      functionKey(domainOf(proto.domain), proto.name ?? ""),
      {
        inputs: proto.input ?? [],
        outputs: proto.output ?? [],
        defaults: Object.fromEntries(defaults),
        nodes: (proto.node ?? []).map((node) => this.#node(node)),
      },
    ];
  }

  #node(proto: NodeProto): GraphNode {
    const attributes = (proto.attribute ?? []).map((a) => [a.name ?? "", this.#attribute(a)] as const);
    return {
      op: proto.opType ?? "",
      domain: domainOf(proto.domain),
      name: proto.name || (proto.output?.[0] ?? ""),
      inputs: proto.input ?? [],
      outputs: proto.output ?? [],
      attributes: Object.fromEntries(attributes),
      ...moduleOf(proto),
    };
  }

  #input(proto: ValueInfoProto): GraphInput {
    const type = proto.type?.tensorType;
    const name = proto.name ?? "";
    return {
      name,
      type: this.#elementType(type?.elemType ?? 0, `input "${name}"`),
      shape: (type?.shape?.dim ?? []).map((dim, i) => dim.dimValue ?? dim.dimParam ?? `${name}_${i}`),
    };
  }

  #attribute(proto: AttributeProto): Attribute {
    const text = new TextDecoder();
    if (proto.refAttrName) return { kind: "reference", value: proto.refAttrName };
    switch (proto.type) {
      case 1:
        return { kind: "float", value: proto.f ?? 0 };
      case 2:
        return { kind: "int", value: proto.i ?? 0 };
      case 3:
        return { kind: "string", value: text.decode(proto.s) };
      case 4:
        return { kind: "tensor", value: this.#weight(proto.t ?? {}) };
      case 5:
        return { kind: "graph", value: this.graph(proto.g ?? {}, new Map()) };
      case 6:
        return { kind: "floats", value: proto.floats ?? [] };
      case 7:
        return { kind: "ints", value: proto.ints ?? [] };
      case 8:
        return { kind: "strings", value: (proto.strings ?? []).map((s) => text.decode(s)) };
      default:
        throw this.#unreadable(`attribute "${proto.name}" has type ${proto.type}, which is not read`);
    }
  }

  #weight(proto: TensorProto): Weight {
    const shape = proto.dims ?? [];
    const type = this.#elementType(proto.dataType ?? 0, `tensor "${proto.name}"`);
    const length = byteSize(type, shape);
    const file = this.#file;
    const at = (location: string, offset: number): Weight => ({
      type,
      shape,
      source: { location, offset, length },
      bytes: () => file.read(location, offset, length),
    });
    if (proto.dataLocation === 1) {
      const entries = new Map((proto.externalData ?? []).map(({ key, value }) => [key, value ?? ""]));
      const stated = entries.get("length");
      if (stated !== undefined && Number(stated) < length)
        throw this.#unreadable(`tensor "${proto.name}" must have ${length} bytes, got ${stated}`);
      return at(entries.get("location") ?? "", Number(entries.get("offset") ?? 0));
    }
    if (proto.rawData !== undefined) {
      if (proto.rawData.length !== length)
        throw this.#unreadable(
          `tensor "${proto.name}" must have ${length} bytes, got ${proto.rawData.length}`,
        );
      // The bytes lie in the graph file as they are: the runtime can map them from there.
      if (length > SMALL_BYTES) return at(file.fileName, proto.rawData.byteOffset - file.bytes.byteOffset);
      const copy = proto.rawData.slice();
      return { type, shape, bytes: () => copy };
    }
    const bytes = typedBytes(type, proto);
    if (bytes.length !== length)
      throw this.#unreadable(`tensor "${proto.name}" must have ${length} bytes, got ${bytes.length}`);
    return { type, shape, bytes: () => bytes };
  }

  #elementType(number: number, what: string): ElementType {
    const type = elementType(number);
    if (type === undefined) throw this.#unreadable(`${what} has element type ${number}, which is not read`);
    return type;
  }

  #unreadable(why: string): FedloomError {
    return new FedloomError("F2110", `Cannot read "${this.#file.name}": ${why}`);
  }
}

/**
 * PyTorch's newer exporter names neither nodes nor weights, but notes where each node comes from: a list such as
 * ['', 'model', 'model.layers.0', 'model.layers.0.mlp.up_proj', 'linear_5'], the call itself at its end.
 */
function moduleOf({ metadataProps }: NodeProto): { module?: string } {
  const scopes = metadataProps?.find(({ key }) => key === "pkg.torch.onnx.name_scopes")?.value;
  const path = [...(scopes?.matchAll(/'([^']*)'/g) ?? [])].at(-2)?.[1];
  return path ? { module: path } : {};
}

/** The typed lists that a tensor may hold instead of raw bytes. */
function typedBytes(type: ElementType, proto: TensorProto): Uint8Array {
  const array = (() => {
    switch (type) {
      case "F32":
        return Float32Array.from(proto.floatData ?? []);
      case "F64":
        return Float64Array.from(proto.doubleData ?? []);
      case "I64":
        return BigInt64Array.from(proto.int64Data ?? []);
      case "U64":
      case "U32":
        return type === "U64"
          ? BigUint64Array.from((proto.uint64Data ?? []).map((v) => BigInt.asUintN(64, v)))
          : Uint32Array.from((proto.uint64Data ?? []).map(Number));
      case "I32":
        return Int32Array.from(proto.int32Data ?? []);
      case "I16":
        return Int16Array.from(proto.int32Data ?? []);
      case "U16":
      case "F16":
      case "BF16":
        return Uint16Array.from(proto.int32Data ?? []);
      case "I8":
        return Int8Array.from(proto.int32Data ?? []);
      case "U8":
      case "BOOL":
      case "U4":
      case "I4":
        return Uint8Array.from(proto.int32Data ?? []);
      default:
        return type satisfies never;
    }
  })();
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
