/**
 * The part of ONNX's protobuf schema that a graph for inference uses, as tables of field numbers.
 *
 * A field is [name, kind] or [name, kind, "many"]; a kind is a scalar or the name of another message.
 * `number` is an int64 that fits a double (dimensions, axes, offsets), `bigint` one that may not (tensor data).
 *
 * Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
 */
export type ScalarKind = "number" | "bigint" | "float" | "double" | "string" | "bytes";
export type Field = readonly [name: string, kind: ScalarKind | MessageName, many?: "many"];
export type MessageName = keyof typeof SCHEMA_SHAPE;

const SCHEMA_SHAPE = {
  Model: true,
  OperatorSet: true,
  Function: true,
  Graph: true,
  Node: true,
  Attribute: true,
  Tensor: true,
  Entry: true,
  ValueInfo: true,
  Type: true,
  TensorType: true,
  Shape: true,
  Dimension: true,
} as const;

export const SCHEMA: Readonly<Record<MessageName, Readonly<Record<number, Field>>>> = {
  Model: {
    1: ["irVersion", "number"],
    2: ["producerName", "string"],
    7: ["graph", "Graph"],
    8: ["opsetImport", "OperatorSet", "many"],
    25: ["functions", "Function", "many"],
  },
  OperatorSet: { 1: ["domain", "string"], 2: ["version", "number"] },
  Function: {
    1: ["name", "string"],
    4: ["input", "string", "many"],
    5: ["output", "string", "many"],
    6: ["attribute", "string", "many"],
    7: ["node", "Node", "many"],
    9: ["opsetImport", "OperatorSet", "many"],
    10: ["domain", "string"],
    11: ["attributeProto", "Attribute", "many"],
  },
  Graph: {
    1: ["node", "Node", "many"],
    2: ["name", "string"],
    5: ["initializer", "Tensor", "many"],
    11: ["input", "ValueInfo", "many"],
    12: ["output", "ValueInfo", "many"],
  },
  Node: {
    1: ["input", "string", "many"],
    2: ["output", "string", "many"],
    3: ["name", "string"],
    4: ["opType", "string"],
    5: ["attribute", "Attribute", "many"],
    7: ["domain", "string"],
    9: ["metadataProps", "Entry", "many"],
  },
  Attribute: {
    1: ["name", "string"],
    2: ["f", "float"],
    3: ["i", "number"],
    4: ["s", "bytes"],
    5: ["t", "Tensor"],
    6: ["g", "Graph"],
    7: ["floats", "float", "many"],
    8: ["ints", "number", "many"],
    9: ["strings", "bytes", "many"],
    20: ["type", "number"],
    21: ["refAttrName", "string"],
  },
  Tensor: {
    1: ["dims", "number", "many"],
    2: ["dataType", "number"],
    4: ["floatData", "float", "many"],
    5: ["int32Data", "number", "many"],
    7: ["int64Data", "bigint", "many"],
    8: ["name", "string"],
    9: ["rawData", "bytes"],
    10: ["doubleData", "double", "many"],
    11: ["uint64Data", "bigint", "many"],
    13: ["externalData", "Entry", "many"],
    14: ["dataLocation", "number"],
  },
  Entry: { 1: ["key", "string"], 2: ["value", "string"] },
  ValueInfo: { 1: ["name", "string"], 2: ["type", "Type"] },
  Type: { 1: ["tensorType", "TensorType"] },
  TensorType: { 1: ["elemType", "number"], 2: ["shape", "Shape"] },
  Shape: { 1: ["dim", "Dimension", "many"] },
  Dimension: { 1: ["dimValue", "number"], 2: ["dimParam", "string"] },
};

/** What a decoded message looks like: absent scalars are undefined, absent lists are missing too. */
export interface ModelProto {
  irVersion?: number;
  producerName?: string;
  graph?: GraphProto;
  opsetImport?: OperatorSetProto[];
  functions?: FunctionProto[];
}
export interface OperatorSetProto {
  domain?: string;
  version?: number;
}
export interface FunctionProto {
  name?: string;
  domain?: string;
  input?: string[];
  output?: string[];
  attribute?: string[];
  attributeProto?: AttributeProto[];
  node?: NodeProto[];
  opsetImport?: OperatorSetProto[];
}
export interface GraphProto {
  node?: NodeProto[];
  name?: string;
  initializer?: TensorProto[];
  input?: ValueInfoProto[];
  output?: ValueInfoProto[];
}
export interface NodeProto {
  input?: string[];
  output?: string[];
  name?: string;
  opType?: string;
  domain?: string;
  attribute?: AttributeProto[];
  metadataProps?: { key?: string; value?: string }[];
}
export interface AttributeProto {
  name?: string;
  f?: number;
  i?: number;
  s?: Uint8Array;
  t?: TensorProto;
  g?: GraphProto;
  floats?: number[];
  ints?: number[];
  strings?: Uint8Array[];
  type?: number;
  refAttrName?: string;
}
export interface TensorProto {
  dims?: number[];
  dataType?: number;
  floatData?: number[];
  int32Data?: number[];
  int64Data?: bigint[];
  name?: string;
  rawData?: Uint8Array;
  doubleData?: number[];
  uint64Data?: bigint[];
  externalData?: { key?: string; value?: string }[];
  dataLocation?: number;
}
export interface ValueInfoProto {
  name?: string;
  type?: { tensorType?: { elemType?: number; shape?: { dim?: { dimValue?: number; dimParam?: string }[] } } };
}
