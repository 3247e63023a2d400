import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import {
  layoutOf,
  openSafetensors,
  readSafetensors,
  saveSafetensors,
  viewSafetensors,
  writeSafetensors,
} from "../../adapters/safetensors.ts";
import { createHeaderReader, MAX_HEADER_BYTES } from "../../adapters/safetensors-header.ts";
import { MAX_NAME_BYTES, MAX_TENSORS } from "../../adapters/safetensors-scan.ts";
import {
  ARRAY_OF,
  type DType,
  float32,
  sizeOf,
  type Tensor,
  tensor,
  tensorSet,
} from "../../adapters/tensor.ts";
import { FedloomError } from "../../base/errors.ts";

const folder = mkdtempSync(join(tmpdir(), "fedloom-safetensors-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** A file of this header and so many bytes of zeros after it. */
function file(header: unknown, dataBytes = 0): Uint8Array {
  const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, Buffer.alloc(dataBytes)]);
}

function refusal(bytes: Uint8Array): FedloomError {
  try {
    readSafetensors(bytes, "update of c1");
  } catch (error) {
    if (error instanceof FedloomError) return error;
    throw error;
  }
  throw new Error("The file was accepted");
}

const f32 = (begin: number, end: number, shape: number[] = [(end - begin) / 4]) => ({
  dtype: "F32",
  shape,
  data_offsets: [begin, end],
});

test("writes, byte for byte, what the reference implementation writes", () => {
  // safetensors 0.8.0, `save` of zeros in every element type, one scalar, one empty tensor, one name to escape.
  const zeros = (dtype: DType, shape = [3]): Tensor =>
    tensor(dtype, shape, new ARRAY_OF[dtype](sizeOf(shape)));
  const set = tensorSet([
    ["a", zeros("BOOL")],
    ["b", zeros("U8")],
    ["c", zeros("I8")],
    ["d", zeros("I16")],
    ["e", zeros("U16")],
    ["f", zeros("F16")],
    ["g", zeros("BF16")],
    ["h", zeros("I32")],
    ["i", zeros("U32")],
    ["j", zeros("F32")],
    ["k", zeros("F64")],
    ["l", zeros("I64")],
    ["m", zeros("U64")],
    ['é\n"x', zeros("F32", [])],
    ["empty", zeros("F32", [0, 3])],
  ]);
  const header =
    '{"__metadata__":{"format":"pt"},"m":{"dtype":"U64","shape":[3],"data_offsets":[0,24]},' +
    '"l":{"dtype":"I64","shape":[3],"data_offsets":[24,48]},"k":{"dtype":"F64","shape":[3],"data_offsets":[48,72]},' +
    '"empty":{"dtype":"F32","shape":[0,3],"data_offsets":[72,72]},"j":{"dtype":"F32","shape":[3],"data_offsets":[72,84]},' +
    '"é\\n\\"x":{"dtype":"F32","shape":[],"data_offsets":[84,88]},"i":{"dtype":"U32","shape":[3],"data_offsets":[88,100]},' +
    '"h":{"dtype":"I32","shape":[3],"data_offsets":[100,112]},"g":{"dtype":"BF16","shape":[3],"data_offsets":[112,118]},' +
    '"f":{"dtype":"F16","shape":[3],"data_offsets":[118,124]},"e":{"dtype":"U16","shape":[3],"data_offsets":[124,130]},' +
    '"d":{"dtype":"I16","shape":[3],"data_offsets":[130,136]},"c":{"dtype":"I8","shape":[3],"data_offsets":[136,139]},' +
    '"b":{"dtype":"U8","shape":[3],"data_offsets":[139,142]},"a":{"dtype":"BOOL","shape":[3],"data_offsets":[142,145]}}    ';
  expect(Buffer.from(writeSafetensors(set)).toString()).toBe(Buffer.from(file(header, 145)).toString());
});

const anyTensor = fc
  .tuple(
    fc.constantFrom(...(Object.keys(ARRAY_OF) as DType[])),
    fc.array(fc.nat({ max: 4 }), { maxLength: 3 }),
  )
  .chain(([dtype, shape]) => {
    const bytes = sizeOf(shape) * ARRAY_OF[dtype].BYTES_PER_ELEMENT;
    return fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((data) =>
      // A copy: fast-check's arrays share buffers that a wider element type could not view.
      tensor(dtype, shape, new ARRAY_OF[dtype](data.slice().buffer)),
    );
  });
const anySet = fc
  .dictionary(fc.string({ unit: "grapheme", maxLength: 20 }), anyTensor, {
    maxKeys: 6,
    noNullPrototype: true,
  })
  .map((entries) => tensorSet(Object.entries(entries).filter(([name]) => name !== "__metadata__")));
const anyMetadata = fc.dictionary(fc.string({ maxLength: 8 }), fc.string({ maxLength: 8 }), {
  maxKeys: 4,
  noNullPrototype: true,
});

function bits(set: ReadonlyMap<string, Tensor>) {
  return [...set].map(([name, { dtype, shape, data }]) => [
    name,
    dtype,
    shape,
    [...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)],
  ]);
}

test("what is written is read back bit for bit, from memory and from disk, also out of a larger buffer", () => {
  const path = join(folder, "round-trip.safetensors");
  fc.assert(
    fc.property(anySet, anyMetadata, fc.nat({ max: 9 }), (set, metadata, offset) => {
      const bytes = writeSafetensors(set, metadata);
      const shifted = Buffer.concat([Buffer.alloc(offset, 255), bytes]).subarray(offset);
      expect(bits(readSafetensors(shifted))).toEqual(bits(set));
      const { sha256 } = saveSafetensors(path, layoutOf(set), (name) => set.get(name)!, metadata);
      expect(readFileSync(path).equals(bytes)).toBe(true);
      expect(sha256).toMatch(/^[0-9a-f]{64}$/);
      const opened = openSafetensors(path);
      expect(bits(new Map(opened.names.map((name) => [name, opened.read(name)])))).toEqual(bits(set));
      expect(opened.metadata).toEqual(metadata);
      opened.close();
    }),
    { numRuns: 60 },
  );
});

test("equal sets give equal bytes, whatever order they were made in", () => {
  fc.assert(
    fc.property(anySet, anyMetadata, (set, metadata) => {
      const reversed = new Map([...set].reverse());
      const reversedMetadata = Object.fromEntries(Object.entries(metadata).reverse());
      expect(writeSafetensors(reversed, reversedMetadata)).toEqual(writeSafetensors(set, metadata));
    }),
  );
});

test("any bytes are either read or refused with a FedloomError, however they were damaged", () => {
  const valid = writeSafetensors(
    tensorSet([
      ["layers.0.lora_A.weight", float32([2, 3], [1, 2, 3, 4, 5, 6])],
      ["layers.0.lora_B.weight", float32([3, 2], [1, 2, 3, 4, 5, 6])],
    ]),
  );
  const edit = fc.record({ at: fc.nat({ max: valid.length - 1 }), byte: fc.nat({ max: 255 }) });
  fc.assert(
    fc.property(
      fc.array(edit, { minLength: 1, maxLength: 4 }),
      fc.nat({ max: valid.length }),
      (edits, length) => {
        const damaged = valid.slice();
        for (const { at, byte } of edits) damaged[at] = byte;
        for (const bytes of [damaged, damaged.subarray(0, length)]) {
          try {
            readSafetensors(bytes);
          } catch (error) {
            expect(error).toBeInstanceOf(FedloomError);
          }
        }
      },
    ),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(fc.json({ maxDepth: 4 }), (json) => {
      if (json.trim() === "{}") return;
      expect(refusal(file(json)).status).toMatch(/data_loss|unimplemented/);
    }),
  );
});

describe("refuses", () => {
  test.each<[string, Uint8Array, string]>([
    ["an empty file", new Uint8Array(0), "the shortest file has 10 bytes, got 0"],
    [
      "a file cut in its header",
      file({ a: f32(0, 4) }, 4).subarray(0, 30),
      "a header of 54 bytes and has 30 bytes",
    ],
    ["a file cut in its tensors", file({ a: f32(0, 8) }, 4), "the tensors have 8 bytes, the file holds 4"],
    ["bytes after the last tensor", file({ a: f32(0, 4) }, 5), "the tensors have 4 bytes, the file holds 5"],
    [
      "overlapping tensors",
      file({ a: f32(0, 8), b: f32(4, 12) }, 12),
      '"b" must begin at byte 8, got 4 to 12',
    ],
    [
      "two names for the same bytes",
      file({ a: f32(0, 8), b: f32(0, 8) }, 8),
      '"b" must begin at byte 8, got 0 to 8',
    ],
    [
      "a gap between tensors",
      file({ a: f32(0, 4), b: f32(8, 12) }, 12),
      '"b" must begin at byte 4, got 8 to 12',
    ],
    ["a gap at the start", file({ a: f32(4, 8) }, 8), '"a" must begin at byte 0, got 4 to 8'],
    [
      "offsets that run backwards",
      file({ a: f32(0, 4), b: f32(4, 0, []) }, 4),
      '"b" must begin at byte 4, got 4 to 0',
    ],
    ["a shape of another size", file({ a: f32(0, 8, [3]) }, 8), '"a", F32 [3], must have 12 bytes, got 8'],
    [
      "a shape whose product overflows",
      file({ a: f32(0, 0, [2 ** 40, 2 ** 40]) }),
      'tensor "a" is too large',
    ],
    [
      "a product that wraps around to zero",
      file({ a: f32(0, 0, [2 ** 32, 2 ** 32]) }),
      'tensor "a" is too large',
    ],
    ["a negative dimension", file({ a: f32(0, 4, [-1, -1]) }, 4), "expected an integer below 2^53"],
    [
      "a fractional offset",
      file('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4.0]}}', 4),
      "expected an integer",
    ],
    [
      "an integer beyond 2^53",
      file('{"a":{"dtype":"F32","shape":[9007199254740993],"data_offsets":[0,4]}}', 4),
      "integer below 2^53",
    ],
    [
      "a name that comes twice",
      file(
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        4,
      ),
      '"a" comes twice',
    ],
    [
      "a key that comes twice",
      file('{"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}', 4),
      '"dtype" comes twice',
    ],
    ["an unknown key", file({ a: { ...f32(0, 4), strides: [1] } }, 4), 'unknown key "strides"'],
    [
      "a tensor without a shape",
      file({ a: { dtype: "F32", data_offsets: [0, 4] } }, 4),
      "lacks dtype, shape",
    ],
    [
      "three offsets",
      file({ a: { dtype: "F32", shape: [1], data_offsets: [0, 4, 8] } }, 4),
      "at most 2 numbers",
    ],
    ["a header that is a list", file([1]), 'expected "{"'],
    ["deep nesting", file("[".repeat(100_000)), 'expected "{"'],
    [
      "nesting in a tensor's shape",
      file(`{"a":{"dtype":"F32","shape":${"[".repeat(5000)}`),
      "expected an integer",
    ],
    ["metadata that is no text", file({ __metadata__: { epoch: 3 } }), 'expected """'],
    [
      "a name that is not well-formed Unicode",
      file(`{"\\ud800":${JSON.stringify(f32(0, 4))}}`, 4),
      "expected a string",
    ],
    ["an unfinished string", file('{"a'), "expected a string"],
    ["a second value after the header", file("{}{}"), "expected the end"],
  ])("%s", (_what, bytes, message) => {
    const error = refusal(bytes);
    expect(error.message).toContain('Cannot read safetensors file "update of c1": ');
    expect(error.message).toContain(message);
    expect(error.code).toBe("F3001");
  });

  test("a header longer than the limit, before it takes memory for it", () => {
    const huge = new Uint8Array(16);
    new DataView(huge.buffer).setBigUint64(0, 2n ** 63n, true);
    expect(refusal(huge).message).toBe(
      `Cannot read safetensors file "update of c1": the header may have ${MAX_HEADER_BYTES} bytes, the file announces 9223372036854775808`,
    );
    expect(refusal(huge).code).toBe("F3002");
  });

  test("a header that is not UTF-8", () => {
    const bytes = file('{"a":{}}');
    bytes[10] = 0xff;
    expect(refusal(bytes).message).toContain("the header is not UTF-8");
  });

  test("a name longer than the limit", () => {
    const error = refusal(file({ ["n".repeat(MAX_NAME_BYTES + 1)]: f32(0, 4) }, 4));
    expect(error.code).toBe("F3002");
    expect(error.message).toContain(`names may have ${MAX_NAME_BYTES} bytes`);
  });

  test("more tensors than the limit", () => {
    const empty = '{"dtype":"U8","shape":[0],"data_offsets":[0,0]}';
    const members = Array.from({ length: MAX_TENSORS + 1 }, (_, i) => `"${i}":${empty}`);
    expect(refusal(file(`{${members.join(",")}}`)).message).toContain(`more than ${MAX_TENSORS} tensors`);
  });

  test("an element type it does not know, and lists those it does", () => {
    const error = refusal(file({ a: { dtype: "F8_E4M3", shape: [4], data_offsets: [0, 4] } }, 4));
    expect(error.code).toBe("F3003");
    expect(error.message).toContain('tensor "a" has element type "F8_E4M3"; known are F64, F32, F16');
  });

  test("a directory in place of a file", () => {
    expect(() => openSafetensors(folder)).toThrow(expect.objectContaining({ code: "F3004" }));
  });

  test("a path with no file, and tells which", () => {
    expect(() => openSafetensors(join(folder, "absent.safetensors"))).toThrow(
      /Cannot read safetensors file ".*absent/,
    );
  });
});

test("a file that shrinks while it is open is refused, not read as zeros", () => {
  const path = join(folder, "shrinks.safetensors");
  writeFileSync(path, writeSafetensors(tensorSet([["a", float32([4], [1, 2, 3, 4])]])));
  const opened = openSafetensors(path);
  truncateSync(path, 80);
  expect(() => opened.read("a")).toThrow("the file became shorter while it was read");
  opened.close();
});

test("a save that fails in the middle leaves the old file as it was", () => {
  const path = join(folder, "kept.safetensors");
  const before = writeSafetensors(tensorSet([["a", float32([1], [1])]]));
  writeFileSync(path, before);
  const layouts = [{ name: "a", dtype: "F32" as const, shape: [2] }];
  expect(() => saveSafetensors(path, layouts, () => float32([1], [7]))).toThrow(
    '"a" must be F32 [2], got F32 [1]',
  );
  expect(readFileSync(path).equals(before)).toBe(true);
});

test("a tensor that was read does not share memory with the bytes it came from", () => {
  const bytes = writeSafetensors(tensorSet([["a", float32([2], [1, 2])]]));
  const read = viewSafetensors(bytes).read("a");
  bytes.fill(0);
  expect([...read.data]).toEqual([1, 2]);
});

test("files whose heads have the same bytes share one header; another size, shape or text has its own", () => {
  const headerOf = createHeaderReader();
  const open = (name: string, values: readonly number[], metadata?: Record<string, string>) => {
    const path = join(folder, name);
    writeFileSync(path, writeSafetensors(tensorSet([["a", float32([values.length], values)]]), metadata));
    return openSafetensors(path, headerOf);
  };
  const files = [
    open("same-1", [1, 2]),
    open("same-2", [3, 4]),
    open("longer", [5, 6, 7]),
    open("told", [8, 9], { who: "c" }),
    open("same-3", [10, 11]),
  ];
  expect(files.map(({ names }) => names === files[0]!.names)).toEqual([true, true, false, false, true]);
  expect(files.map((opened) => [...(opened.read("a").data as Float32Array)])).toEqual([
    [1, 2],
    [3, 4],
    [5, 6, 7],
    [8, 9],
    [10, 11],
  ]);
  for (const opened of files) opened.close();
  // The same head before fewer bytes is a damaged file, whatever was read before.
  const path = join(folder, "cut");
  writeFileSync(path, writeSafetensors(tensorSet([["a", float32([2], [1, 2])]])));
  truncateSync(path, readFileSync(path).length - 4);
  expect(() => openSafetensors(path, headerOf)).toThrow(/Cannot read safetensors file ".*cut"/);
});

test("a file after one that differs in a name, a type, a shape or the metadata has its own header", () => {
  const first = tensorSet([["a", float32([2, 3], [1, 2, 3, 4, 5, 6])]]);
  const others: readonly [Parameters<typeof writeSafetensors>[0], Record<string, string>][] = [
    [tensorSet([["b", first.get("a")!]]), { format: "pt" }],
    [tensorSet([["a", tensor("I32", [2, 3], new Int32Array(6))]]), { format: "pt" }],
    [tensorSet([["a", float32([3, 2], [1, 2, 3, 4, 5, 6])]]), { format: "pt" }],
    [first, { format: "np" }],
    [first, {}],
  ];
  for (const [set, metadata] of others) {
    writeSafetensors(first);
    const read = viewSafetensors(writeSafetensors(set, metadata));
    expect(read.metadata).toEqual(metadata);
    expect(new Map(read.names.map((name) => [name, read.read(name)]))).toEqual(set);
  }
});
