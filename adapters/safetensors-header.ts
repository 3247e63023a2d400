/**
 * The header of a safetensors file: its JSON, read strictly and written as the reference implementation does.
 *
 * Nothing here trusts the file.
 *
 * Format: https://github.com/huggingface/safetensors#format
 */
import { FedloomError } from "../base/errors.ts";
import { RecentlyRead } from "../base/recently-read.ts";
import { damaged, scanHeader, type TensorInfo } from "./safetensors-scan.ts";
import { ARRAY_OF, compareNames, type DType, sameShape, sizeOf } from "./tensor.ts";

/** Longest header we read: about 100,000 tensors at 160 bytes each. Unbounded, a hostile file exhausts memory. */
export const MAX_HEADER_BYTES = 16 * 2 ** 20;
export interface Header {
  /** In byte order of the names. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly names: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  /** Where the tensors' bytes begin in the file. */
  readonly dataStart: number;
}

/** The element types in the order the reference implementation writes them: wide ones first, so that all are aligned. */
const WRITE_ORDER: readonly DType[] = [
  "U64",
  "I64",
  "F64",
  "F32",
  "U32",
  "I32",
  "BF16",
  "F16",
  "U16",
  "I16",
  "I8",
  "U8",
  "BOOL",
];

/**
 * Reads and checks everything the header says against the size of the file.
 *
 * @param head at least the first 8 bytes of the file and the header they announce
 * @param fileBytes size of the whole file
 * @param file what messages call it
 * @throws FedloomError F3001, F3002
 */
export function readHeader(head: Uint8Array, fileBytes: number, file: string): Header {
  const headerBytes = headerLength(head, fileBytes, file);
  let json: string;
  try {
    json = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
      head.subarray(8, 8 + headerBytes),
    );
  } catch (cause) {
    throw new FedloomError(
      "F3001",
      `Cannot read safetensors file "${file}": the header is not UTF-8`,
      { file },
      { cause },
    );
  }
  const { tensors, metadata } = scanHeader(json, file);
  const dataStart = 8 + headerBytes;
  checkLayout(tensors, fileBytes - dataStart, file);
  const sorted = [...tensors].sort(([a], [b]) => compareNames(a, b));
  return { tensors: new Map(sorted), names: sorted.map(([name]) => name), metadata, dataStart };
}

/** Different heads that are kept to compare with: one for each rank that the clients of a round have. */
const KEPT_HEADS = 8;

/**
 * Reads as readHeader does; files of the same size whose heads have the same bytes, as those of a round's clients mostly
 * have, share one header.
 */
export function createHeaderReader(): typeof readHeader {
  const recent = new RecentlyRead<Header>(KEPT_HEADS);
  return (head, fileBytes, file) => recent.of(head, fileBytes, () => readHeader(head, fileBytes, file));
}

/** Bytes of JSON that the first 8 bytes announce. */
export function headerLength(head: Uint8Array, fileBytes: number, file: string): number {
  if (fileBytes < 10) throw damaged(file, `the shortest file has 10 bytes, got ${fileBytes}`, { fileBytes });
  const announced = new DataView(head.buffer, head.byteOffset, head.byteLength).getBigUint64(0, true);
  if (announced > BigInt(MAX_HEADER_BYTES)) {
    throw new FedloomError(
      "F3002",
      `Cannot read safetensors file "${file}": the header may have ${MAX_HEADER_BYTES} bytes, the file announces ${announced}`,
      { file, limitBytes: MAX_HEADER_BYTES },
    );
  }
  const headerBytes = Number(announced);
  if (headerBytes < 2 || 8 + headerBytes > fileBytes) {
    throw damaged(file, `the file announces a header of ${headerBytes} bytes and has ${fileBytes} bytes`, {
      fileBytes,
    });
  }
  return headerBytes;
}

/** Tensors must follow each other without gap or overlap and end with the file: no byte is unaccounted for. */
function checkLayout(tensors: ReadonlyMap<string, TensorInfo>, dataBytes: number, file: string): void {
  const ordered = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let reached = 0;
  for (const [name, { dtype, shape, begin, end }] of ordered) {
    if (begin !== reached || end < begin) {
      throw damaged(file, `tensor "${name}" must begin at byte ${reached}, got ${begin} to ${end}`, {
        tensor: name,
      });
    }
    const wanted = sizeOf(shape) * ARRAY_OF[dtype].BYTES_PER_ELEMENT;
    if (end - begin !== wanted) {
      throw damaged(
        file,
        `tensor "${name}", ${dtype} [${shape.join(", ")}], must have ${wanted} bytes, got ${end - begin}`,
        {
          tensor: name,
        },
      );
    }
    reached = end;
  }
  if (reached !== dataBytes) {
    throw damaged(file, `the tensors have ${reached} bytes, the file holds ${dataBytes} after its header`, {
      dataBytes,
    });
  }
}

export interface TensorLayout {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/**
 * The header for these tensors, and the order in which their bytes follow it.
 *
 * Equal tensors and metadata give equal bytes: element types from wide to narrow, then names in byte order,
 * metadata keys in byte order, padding with blanks to a multiple of 8.
 */
export function writeHeader(
  layouts: Iterable<TensorLayout>,
  metadata: Readonly<Record<string, string>>,
): WrittenHeader {
  const given = [...layouts];
  if (newest !== undefined && isOf(newest, given, metadata)) return newest.header;
  const header = formatHeader(given, metadata);
  const shapes = given.map(({ name, dtype, shape }) => ({ name, dtype, shape })); // and no numbers beside them
  newest = { layouts: shapes, metadata: { ...metadata }, header };
  return header;
}

export interface WrittenHeader {
  readonly bytes: Uint8Array;
  readonly order: readonly string[];
}

interface Written {
  readonly layouts: readonly TensorLayout[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly header: WrittenHeader;
}

/** What was written last: the updates of a round mostly have one header. */
let newest: Written | undefined;

function isOf(
  { layouts, metadata }: Written,
  given: readonly TensorLayout[],
  wanted: Readonly<Record<string, string>>,
): boolean {
  const keys = Object.keys(wanted);
  return (
    layouts.length === given.length &&
    keys.length === Object.keys(metadata).length &&
    keys.every((key) => wanted[key] === metadata[key]) &&
    layouts.every(({ name, dtype, shape }, i) => {
      const one = given[i]!;
      return name === one.name && dtype === one.dtype && sameShape(shape, one.shape);
    })
  );
}

function formatHeader(
  layouts: readonly TensorLayout[],
  metadata: Readonly<Record<string, string>>,
): WrittenHeader {
  const ordered = layouts.toSorted(
    (a, b) => WRITE_ORDER.indexOf(a.dtype) - WRITE_ORDER.indexOf(b.dtype) || compareNames(a.name, b.name),
  );
  const members: string[] = [];
  const keys = Object.keys(metadata).sort(compareNames);
  if (keys.length > 0) {
    members.push(`"__metadata__":{${keys.map((key) => `${quote(key)}:${quote(metadata[key]!)}`).join(",")}}`);
  }
  let reached = 0;
  for (const { name, dtype, shape } of ordered) {
    const end = reached + sizeOf(shape) * ARRAY_OF[dtype].BYTES_PER_ELEMENT;
    members.push(
      `${quote(name)}:{"dtype":"${dtype}","shape":[${shape.join(",")}],"data_offsets":[${reached},${end}]}`,
    );
    reached = end;
  }
  const json = Buffer.from(`{${members.join(",")}}`);
  const padded = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(8 + padded).fill(0x20, 8 + json.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
  bytes.set(json, 8);
  return { bytes, order: ordered.map(({ name }) => name) };
}

function quote(text: string): string {
  if (!text.isWellFormed()) throw new TypeError("Names and metadata must be well-formed Unicode");
  return JSON.stringify(text);
}
