/**
 * The JSON in front of a safetensors file, read by a scanner of its one shape: a general parser would take duplicate
 * names in silence and follow any depth of nesting.
 */
import { FedloomError } from "../base/errors.ts";
import { ARRAY_OF, type DType, sizeOf } from "./tensor.ts";

/** The largest models in use have some 20,000 tensors. */
export const MAX_TENSORS = 100_000;
/** Names of modules nested twenty deep stay below 500 bytes; names become keys of state and lines of logs. */
export const MAX_NAME_BYTES = 1024;
/** numpy's older bound; no tensor of a neural network comes near it. */
export const MAX_RANK = 32;

export interface TensorInfo {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** First byte and byte after the last, counted from the end of the header. */
  readonly begin: number;
  readonly end: number;
}

export interface Scanned {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
}

export function damaged(file: string, what: string, details: Record<string, unknown> = {}): FedloomError {
  return new FedloomError("F3001", `Cannot read safetensors file "${file}": ${what}`, { file, ...details });
}

/** Reads `{"name": {"dtype": …, "shape": […], "data_offsets": […]}, …}` and nothing else. */
export function scanHeader(json: string, file: string): Scanned {
  const tensors = new Map<string, TensorInfo>();
  let metadata: Record<string, string> | undefined;
  let at = 0;

  const fail = (what: string): never => {
    throw damaged(file, `${what} at character ${at} of the header`);
  };
  const blanks = () => {
    while (" \n\r\t".includes(json[at] ?? "end")) at++;
  };
  const take = (char: string): boolean => {
    blanks();
    if (json[at] !== char) return false;
    at++;
    return true;
  };
  const expect = (char: string) => {
    if (!take(char)) fail(`expected "${char}"`);
  };
  const string = (): string => {
    expect('"');
    const start = at - 1;
    while (at < json.length && json[at] !== '"') at += json[at] === "\\" ? 2 : 1;
    at++;
    try {
      const text: unknown = JSON.parse(json.slice(start, at));
      if (typeof text === "string" && text.isWellFormed()) return text;
    } catch {
      // Told below: JSON.parse's message would quote the file.
    }
    return fail("expected a string");
  };
  const count = (): number => {
    blanks();
    const digits = /^(0|[1-9][0-9]{0,15})(?![0-9.eE])/.exec(json.slice(at, at + 17))?.[0];
    if (digits === undefined || !Number.isSafeInteger(Number(digits)))
      return fail("expected an integer below 2^53");
    at += digits.length;
    return Number(digits);
  };
  const counts = (limit: number): number[] => {
    expect("[");
    const list: number[] = [];
    if (take("]")) return list;
    do {
      if (list.push(count()) > limit) fail(`expected at most ${limit} numbers`);
    } while (take(","));
    expect("]");
    return list;
  };
  const members = (read: (key: string) => void) => {
    expect("{");
    const seen = new Set<string>();
    if (take("}")) return;
    do {
      const key = string();
      if (seen.has(key)) fail(`"${key.slice(0, 100)}" comes twice`);
      seen.add(key);
      expect(":");
      read(key);
    } while (take(","));
    expect("}");
  };
  const tensorInfo = (name: string): TensorInfo => {
    let dtype: string | undefined;
    let shape: number[] | undefined;
    let offsets: number[] | undefined;
    members((key) => {
      if (key === "dtype") dtype = string();
      else if (key === "shape") shape = counts(MAX_RANK);
      else if (key === "data_offsets") offsets = counts(2);
      else fail(`tensor "${name}" has an unknown key "${key.slice(0, 100)}"`);
    });
    if (dtype === undefined || shape === undefined || offsets?.length !== 2) {
      return fail(`tensor "${name}" lacks dtype, shape or two data_offsets`);
    }
    if (!isDType(dtype)) {
      throw new FedloomError(
        "F3003",
        `Cannot read safetensors file "${file}": tensor "${name}" has element type "${dtype.slice(0, 20)}"; known are ${Object.keys(ARRAY_OF).join(", ")}`,
        { file, tensor: name },
      );
    }
    if (!Number.isSafeInteger(sizeOf(shape) * 8)) return fail(`tensor "${name}" is too large`);
    return { dtype, shape, begin: offsets[0]!, end: offsets[1]! };
  };

  members((name) => {
    if (name === "__metadata__") {
      const read: [string, string][] = [];
      members((key) => read.push([key, string()]));
      metadata = Object.fromEntries(read);
      return;
    }
    if (Buffer.byteLength(name) > MAX_NAME_BYTES) {
      throw new FedloomError(
        "F3002",
        `Cannot read safetensors file "${file}": names may have ${MAX_NAME_BYTES} bytes, tensor "${name.slice(0, 60)}…" has ${Buffer.byteLength(name)}`,
        { file, limitBytes: MAX_NAME_BYTES },
      );
    }
    if (tensors.size === MAX_TENSORS) {
      throw new FedloomError(
        "F3002",
        `Cannot read safetensors file "${file}": more than ${MAX_TENSORS} tensors`,
        {
          file,
          limit: MAX_TENSORS,
        },
      );
    }
    tensors.set(name, tensorInfo(name));
  });
  blanks();
  if (at !== json.length) fail("expected the end");
  return { tensors, metadata: metadata ?? {} };
}

function isDType(text: string): text is DType {
  return Object.hasOwn(ARRAY_OF, text);
}
