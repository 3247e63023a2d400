/**
 * A graph whose embedding has a table of its own: where a head shares the table, what picks rows takes a copy, and the head
 * keeps the old one. The operand of those nodes and one initializer more are all that changes; every other byte stays as
 * its exporter wrote it, fields that we do not read too.
 */
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { encodeModel } from "../onnx/format/codec.ts";
import type { TensorProto } from "../onnx/format/schema.ts";

/** Numbers of the fields on the way, from onnx.proto. */
const GRAPH_OF_MODEL = 7;
const NODE = 1;
const OPERAND = 1;
const OPERATOR = 4;
const ATTRIBUTE = 5;
const GRAPHS_OF_ATTRIBUTE = [6, 11];

export interface TableCopy {
  /** The value that rows are picked from. */
  readonly read: string;
  readonly tensor: TensorProto & { readonly name: string };
}

/**
 * @param model a serialized ModelProto
 * @returns its bytes in parts, most of them views, and how many nodes pick from the copy
 */
export function withTableCopy(
  model: Uint8Array,
  { read, tensor }: TableCopy,
): { readonly parts: readonly Uint8Array[]; readonly picks: number } {
  let picks = 0;
  const node = (bytes: Uint8Array): Parts | undefined => {
    if (!isPick(bytes, read))
      return edited(bytes, (number, value) =>
        number === ATTRIBUTE
          ? edited(value, (of, inner) => (GRAPHS_OF_ATTRIBUTE.includes(of) ? graph(inner) : undefined))
          : undefined,
      );
    picks++;
    let isFirst = true;
    return edited(bytes, (number) => {
      if (number !== OPERAND || !isFirst) return undefined;
      isFirst = false;
      return [new TextEncoder().encode(tensor.name)];
    });
  };
  const graph = (bytes: Uint8Array): Parts | undefined =>
    edited(bytes, (number, value) => (number === NODE ? node(value) : undefined));
  const parts = edited(model, (number, value) =>
    number === GRAPH_OF_MODEL ? [...(graph(value) ?? [value]), initializer(tensor)] : undefined,
  );
  return { parts: parts ?? [model], picks };
}

type Parts = readonly Uint8Array[];

/** The message with some of its fields' values changed; undefined where none is. */
function edited(
  bytes: Uint8Array,
  edit: (number: number, value: Uint8Array) => Parts | undefined,
): Parts | undefined {
  const reader = new BinaryReader(bytes);
  const parts: Uint8Array[] = [];
  let from = 0;
  while (reader.pos < reader.len) {
    const at = reader.pos;
    const [number, wire] = reader.tag();
    if (wire !== WireType.LengthDelimited) {
      reader.skip(wire, number);
      continue;
    }
    const value = edit(number, reader.bytes());
    if (value === undefined) continue;
    const length = value.reduce((sum, part) => sum + part.length, 0);
    const head = new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(length).finish();
    parts.push(bytes.subarray(from, at), head, ...value);
    from = reader.pos;
  }
  return parts.length === 0 ? undefined : [...parts, bytes.subarray(from)];
}

/** A Gather whose first operand is the value. */
function isPick(node: Uint8Array, read: string): boolean {
  const reader = new BinaryReader(node);
  let [operator, first] = ["", undefined as string | undefined];
  while (reader.pos < reader.len) {
    const [number, wire] = reader.tag();
    if (number === OPERAND) {
      const operand = reader.string();
      first ??= operand;
    } else if (number === OPERATOR) operator = reader.string();
    else reader.skip(wire, number);
  }
  return operator === "Gather" && first === read;
}

/** The field of a graph that holds an initializer. */
function initializer(tensor: TensorProto): Uint8Array {
  const reader = new BinaryReader(encodeModel({ graph: { initializer: [tensor] } }));
  reader.tag();
  return reader.bytes();
}
