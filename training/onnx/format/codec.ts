/** Reads and writes ONNX's protobuf messages by the tables in schema.ts. Unknown fields are skipped. */
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type MessageName, type ModelProto, SCHEMA, type ScalarKind } from "./schema.ts";

type Message = Record<string, unknown>;

/**
 * @param bytes a serialized ModelProto; byte fields of the result are views into it
 * @throws Error where the bytes are no protobuf message
 */
export function decodeModel(bytes: Uint8Array): ModelProto {
  return decode("Model", bytes) as ModelProto; // the tables and the interfaces say the same
}

export function encodeModel(model: ModelProto): Uint8Array<ArrayBuffer> {
  const writer = new BinaryWriter();
  encode("Model", model as Message, writer);
  return writer.finish();
}

function decode(name: MessageName, bytes: Uint8Array): Message {
  const fields = SCHEMA[name];
  const reader = new BinaryReader(bytes);
  const message: Message = {};
  while (reader.pos < reader.len) {
    const [number, wire] = reader.tag();
    const field = fields[number];
    if (field === undefined) {
      reader.skip(wire, number);
      continue;
    }
    const [key, kind, many] = field;
    if (many === undefined) {
      message[key] = readOne(reader, kind);
      continue;
    }
    // Maps every repeated field to one array.
    message[key] ??= [];
    const list = message[key] as unknown[];
    if (wire === WireType.LengthDelimited && isNumeric(kind)) {
      const end = reader.uint32() + reader.pos;
      while (reader.pos < end) list.push(readOne(reader, kind));
    } else {
      list.push(readOne(reader, kind));
    }
  }
  return message;
}

function isNumeric(kind: ScalarKind | MessageName): boolean {
  return kind === "number" || kind === "bigint" || kind === "float" || kind === "double";
}

function readOne(reader: BinaryReader, kind: ScalarKind | MessageName): unknown {
  switch (kind) {
    case "number":
      return Number(reader.int64());
    case "bigint":
      return BigInt(reader.int64());
    case "float":
      return reader.float();
    case "double":
      return reader.double();
    case "string":
      return reader.string();
    case "bytes":
      return reader.bytes();
    default:
      return decode(kind, reader.bytes());
  }
}

function encode(name: MessageName, message: Message, writer: BinaryWriter): void {
  for (const [number, [key, kind, many]] of Object.entries(SCHEMA[name])) {
    const value = message[key];
    if (value === undefined) continue;
    for (const item of many === undefined ? [value] : (value as unknown[])) {
      writeOne(writer, Number(number), kind, item);
    }
  }
}

/** Repeated numbers are written unpacked, which every reader of proto2 and proto3 takes. */
function writeOne(
  writer: BinaryWriter,
  number: number,
  kind: ScalarKind | MessageName,
  value: unknown,
): void {
  switch (kind) {
    case "number":
      writer.tag(number, WireType.Varint).int64(BigInt(value as number));
      return;
    case "bigint":
      writer.tag(number, WireType.Varint).int64(value as bigint);
      return;
    case "float":
      writer.tag(number, WireType.Bit32).float(value as number);
      return;
    case "double":
      writer.tag(number, WireType.Bit64).double(value as number);
      return;
    case "string":
      writer.tag(number, WireType.LengthDelimited).string(value as string);
      return;
    case "bytes":
      writer.tag(number, WireType.LengthDelimited).bytes(value as Uint8Array);
      return;
    default:
      writer.tag(number, WireType.LengthDelimited).fork();
      encode(kind, value as Message, writer);
      writer.join();
  }
}
