/**
 * Safetensors files: tensors by name, in memory or one at a time from disk.
 *
 * The reader checks the whole header before it touches a tensor (safetensors-header.ts) and copies each tensor's
 * bytes, so that a view into a network buffer or an unaligned file cannot reach the numbers. The writer gives the
 * bytes the reference implementation would give, and equal tensors give equal bytes.
 *
 * The machine must be little-endian, as every platform of Node.js in use is.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { FedloomError, messageOf } from "../base/errors.ts";
import { replaceFile } from "./durable-file.ts";
import {
  type Header,
  headerLength,
  readHeader,
  type TensorLayout,
  writeHeader,
} from "./safetensors-header.ts";
import { damaged, type TensorInfo } from "./safetensors-scan.ts";
import { ARRAY_OF, sameShape, type Tensor, type TensorSet } from "./tensor.ts";

/** What PyTorch's readers want to find in the metadata. */
export const PYTORCH_METADATA = { format: "pt" } as const;

export interface SafetensorsFile {
  /** In byte order. */
  readonly names: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  /** @throws TypeError for a name that is not there */
  info(name: string): TensorInfo;
  has(name: string): boolean;
  /** One tensor, freshly copied. @throws TypeError for a name that is not there */
  read(name: string): Tensor;
  /** One tensor, over the bytes themselves where they are in memory and aligned, else a copy: not to be changed. */
  view(name: string): Tensor;
  /** Fills `target` with a tensor's bytes from `byteFrom` on, where a file can be read in parts. */
  readInto?(name: string, byteFrom: number, target: Uint8Array): void;
  /** Whether a tensor is known to hold finite numbers alone; false where nobody looked. */
  isFinite?(name: string): boolean;
  /** Closes the file; for bytes in memory it does nothing. */
  close(): void;
}

/** @param file what error messages call these bytes */
export function readSafetensors(bytes: Uint8Array, file = "update"): TensorSet {
  const source = viewSafetensors(bytes, file);
  return new Map(source.names.map((name) => [name, source.read(name)]));
}

/** Bytes in memory, read tensor by tensor. @param headerOf as in `openSafetensors` */
export function viewSafetensors(bytes: Uint8Array, file = "update", headerOf = readHeader): SafetensorsFile {
  const headerBytes = 8 + headerLength(bytes, bytes.length, file);
  const header = headerOf(bytes.subarray(0, headerBytes), bytes.length, file);
  return reader(
    header,
    (target, position) => target.set(bytes.subarray(position, position + target.length)),
    () => {},
    bytes,
  );
}

/**
 * A file on disk, read tensor by tensor: memory is bounded by the header and the tensor read.
 *
 * Reads block: this serves worker threads, strategies and command lines, which have nothing else to do.
 *
 * @param headerOf whoever opens many files lets them share their headers (createHeaderReader)
 */
export function openSafetensors(path: string, headerOf = readHeader): SafetensorsFile {
  const onDisk = <T>(act: () => T): T => {
    try {
      return act();
    } catch (cause) {
      const why = messageOf(cause);
      throw new FedloomError("F3004", `Cannot read safetensors file "${path}": ${why}`, { path }, { cause });
    }
  };
  const fd = onDisk(() => openSync(path, "r"));
  const fill = (target: Uint8Array, position: number) => {
    let filled = 0;
    while (filled < target.length) {
      const count = onDisk(() => readSync(fd, target, filled, target.length - filled, position + filled));
      if (count === 0) throw damaged(path, "the file became shorter while it was read");
      filled += count;
    }
  };
  try {
    const fileBytes = onDisk(() => fstatSync(fd).size);
    return readerAt(fileBytes, fill, path, { headerOf, close: () => closeSync(fd) });
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * @param fill fills its first argument with bytes from a position on, however they are kept
 * @param how `headerOf` as in `openSafetensors`; `finiteWords`: four bytes at a time, from the first on, they are known to be
 *   finite numbers if read as float32
 */
export function readerAt(
  fileBytes: number,
  fill: (target: Uint8Array, position: number) => void,
  file: string,
  how: { headerOf?: typeof readHeader; finiteWords?: boolean; close?(): void } = {},
): SafetensorsFile {
  const { headerOf = readHeader, finiteWords = false, close = () => {} } = how;
  const begin = headOf(Math.min(fileBytes, HEAD_BYTES));
  fill(begin, 0);
  const head = headOf(8 + headerLength(begin, fileBytes, file));
  if (head.length > begin.length) fill(head, 0);
  const header = headerOf(head, fileBytes, file);
  const source = reader(header, fill, close);
  if (!finiteWords) return source;
  return {
    ...source,
    isFinite(name) {
      const { dtype, begin: from } = source.info(name);
      return dtype === "F32" && (header.dataStart + from) % 4 === 0;
    },
  };
}

/** What the header of an adapter mostly takes at the most: one look at a file is enough. */
const HEAD_BYTES = 2 ** 13;

/** Files are opened one after the other, and nothing keeps these bytes. */
let scratch = new Uint8Array(2 ** 16);

function headOf(bytes: number): Uint8Array {
  if (bytes > 2 ** 20) return new Uint8Array(bytes);
  if (bytes > scratch.length) scratch = new Uint8Array(bytes);
  return scratch.subarray(0, bytes);
}

function reader(
  header: Header,
  fill: (target: Uint8Array, position: number) => void,
  close: () => void,
  inMemory?: Uint8Array,
): SafetensorsFile {
  const info = (name: string): TensorInfo => {
    const found = header.tensors.get(name);
    if (found === undefined) throw new TypeError(`The file has no tensor "${name}"`);
    return found;
  };
  const read = (name: string): Tensor => {
    const { dtype, shape, begin, end } = info(name);
    const buffer = new ArrayBuffer(end - begin);
    fill(new Uint8Array(buffer), header.dataStart + begin);
    return { dtype, shape, data: new ARRAY_OF[dtype](buffer) };
  };
  return {
    names: header.names,
    metadata: header.metadata,
    info,
    has: (name) => header.tensors.has(name),
    read,
    view(name) {
      const { dtype, shape, begin, end } = info(name);
      const size = ARRAY_OF[dtype].BYTES_PER_ELEMENT;
      const at = (inMemory?.byteOffset ?? 0) + header.dataStart + begin;
      if (inMemory === undefined || at % size !== 0) return read(name);
      // as: bytes here come from files and messages, which are no shared memory.
      const data = new ARRAY_OF[dtype](inMemory.buffer as ArrayBuffer, at, (end - begin) / size);
      return { dtype, shape, data };
    },
    readInto(name, byteFrom, target) {
      const { begin, end } = info(name);
      if (byteFrom < 0 || begin + byteFrom + target.length > end) {
        throw new RangeError(
          `Tensor "${name}" holds ${end - begin} bytes, ${target.length} wanted from ${byteFrom}`,
        );
      }
      fill(target, header.dataStart + begin + byteFrom);
    },
    close,
  };
}

export function writeSafetensors(
  tensors: TensorSet,
  metadata: Readonly<Record<string, string>> = PYTORCH_METADATA,
): Uint8Array {
  return Buffer.concat(safetensorsPieces(tensors, metadata));
}

/** A file in pieces: its header, and the bytes of each tensor, which are the tensor's own. */
export function safetensorsPieces(
  tensors: TensorSet,
  metadata: Readonly<Record<string, string>> = PYTORCH_METADATA,
): readonly Uint8Array[] {
  const header = writeHeader(layoutOf(tensors), metadata);
  return [header.bytes, ...header.order.map((name) => bytesOf(tensors.get(name)!))];
}

/**
 * Writes a file tensor by tensor, in the order the format wants, to a neighbor of `path` that takes its place when
 * everything is on disk: a reader sees the old file or the new one, whatever happens in between.
 *
 * @param read called once per name; the tensor must be what the layout says
 * @returns size and SHA-256 of the file
 */
export function saveSafetensors(
  path: string,
  layouts: Iterable<TensorLayout>,
  read: (name: string) => Tensor,
  metadata: Readonly<Record<string, string>> = PYTORCH_METADATA,
): { readonly bytes: number; readonly sha256: string } {
  const layoutByName = new Map([...layouts].map((layout) => [layout.name, layout]));
  const header = writeHeader(layoutByName.values(), metadata);
  return replaceFile(path, (write) => {
    write(header.bytes);
    for (const name of header.order) {
      const tensor = read(name);
      const { dtype, shape } = layoutByName.get(name)!;
      if (tensor.dtype !== dtype || !sameShape(tensor.shape, shape)) {
        throw new TypeError(
          `Tensor "${name}" must be ${dtype} [${shape}], got ${tensor.dtype} [${tensor.shape}]`,
        );
      }
      write(bytesOf(tensor));
    }
  });
}

export function layoutOf(tensors: TensorSet): TensorLayout[] {
  return [...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
}

function bytesOf({ data }: Tensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
