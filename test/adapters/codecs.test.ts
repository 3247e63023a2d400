import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Codec } from "../../adapters/codecs/codec.ts";
import { CODEC_NAMES, CODECS, codecOf, negotiate } from "../../adapters/codecs/index.ts";
import { bytesByGroup, encodeUpdate, openUpdate } from "../../adapters/encoded-update.ts";
import { readSafetensors, viewSafetensors, writeSafetensors } from "../../adapters/safetensors.ts";
import { float32, sizeOf, type TensorSet, tensor, tensorSet } from "../../adapters/tensor.ts";
import { FedloomError } from "../../base/errors.ts";
import { sha256 } from "../../base/hash.ts";
import { createRng } from "../../base/rng.ts";

/** Float32 additions at both ends round by half a unit of the larger operand each. */
const ROUNDING = 2 ** -22;
/** Below the smallest normal number of float32 no format keeps a relative error. */
const SUBNORMAL = 2 ** -126;

/** How far an element may be from what was sent: by the change of the element, and of the largest of its tensor. */
const BOUNDS: Readonly<Record<string, (change: number, largest: number) => number>> = {
  fp32: () => 0,
  fp16: (change) => change * 2 ** -11 + 2 ** -25,
  bf16: (change) => change * 2 ** -8,
  int8: (_, largest) => largest / 127,
  int4: (_, largest) => largest / 7,
  topk: (_, largest) => largest,
};
/** Bytes per element of a large tensor in which everything changed; rows add an index of 4 bytes to a row of 64. */
const BYTES: Readonly<Record<string, number>> = {
  fp32: 4,
  fp16: 2,
  bf16: 2,
  int8: 1.016,
  int4: 0.5625,
  topk: 0.28,
};
const innerOf = (codec: Codec) => codec.name.replace("rows/", "");

const shapes = fc.array(fc.nat({ max: 9 }), { maxLength: 3 });
const sets = shapes.chain((shape) => {
  const values = fc.float32Array({
    minLength: sizeOf(shape),
    maxLength: sizeOf(shape),
    min: -100,
    max: 100,
    noNaN: true,
  });
  return fc.record({ shape: fc.constant(shape), values, reference: values, seed: fc.string() });
});

describe.each(CODECS.map((codec) => [codec.name, codec] as const))("codec %s", (_name, codec) => {
  const roundTrip = (values: Float32Array, reference: Float32Array, shape: readonly number[], seed = "s") =>
    codec.decode(codec.encode(values, reference, shape, createRng(seed)), reference, shape);

  test("gives every element back within its bound", () => {
    fc.assert(
      fc.property(sets, ({ shape, values, reference, seed }) => {
        const back = roundTrip(values, reference, shape, seed);
        expect(back.length).toBe(values.length);
        const changes = values.map((value, i) => Math.abs(value - reference[i]!));
        const largest = Math.max(0, ...changes);
        for (const [i, value] of values.entries()) {
          const sizes = Math.abs(value) + Math.abs(reference[i]!) + largest;
          const bound = BOUNDS[innerOf(codec)]!(changes[i]!, largest) + ROUNDING * sizes + SUBNORMAL;
          expect(Math.abs(back[i]! - value)).toBeLessThanOrEqual(bound);
        }
      }),
    );
  });

  test("leaves what did not change exactly as it was", () => {
    fc.assert(
      fc.property(sets, ({ shape, values, seed }) => {
        const back = roundTrip(values, values, shape, seed);
        expect(back.every((value, i) => value === values[i])).toBe(true); // -0 may become 0
      }),
    );
  });

  test("gives equal bytes for equal inputs and generators, and changes none of them", () => {
    fc.assert(
      fc.property(sets, ({ shape, values, reference, seed }) => {
        const [ours, theirs] = [values.slice(), reference.slice()];
        const first = codec.encode(values, reference, shape, createRng(seed));
        codec.decode(first, reference, shape);
        expect(codec.encode(values, reference, shape, createRng(seed))).toEqual(first);
        expect([values, reference]).toEqual([ours, theirs]);
      }),
    );
  });

  test("needs the bytes it promises", () => {
    const rng = createRng("size");
    const values = Float32Array.from({ length: 1000 * 64 }, () => rng.normal());
    const { length } = codec.encode(values, new Float32Array(values.length), [1000, 64], rng);
    const rows = codec.name.startsWith("rows/") ? 4 + 4 * 1000 : 0;
    expect(length - rows).toBeLessThanOrEqual(BYTES[innerOf(codec)]! * values.length);
  });

  test("decodes or refuses damaged bytes, and reads views that begin anywhere", () => {
    const values = Float32Array.from({ length: 70 }, (_, i) => i / 7);
    const reference = new Float32Array(70);
    const bytes = codec.encode(values, reference, [10, 7], createRng("x"));
    const shifted = Buffer.concat([Buffer.of(1), bytes]).subarray(1);
    expect(codec.decode(shifted, reference, [10, 7])).toEqual(codec.decode(bytes, reference, [10, 7]));
    const edit = fc.record({ at: fc.nat({ max: bytes.length - 1 }), byte: fc.nat({ max: 255 }) });
    fc.assert(
      fc.property(fc.array(edit, { maxLength: 4 }), fc.nat({ max: bytes.length + 2 }), (edits, length) => {
        const damaged = Buffer.concat([bytes, Buffer.alloc(2)]).subarray(0, length);
        for (const { at, byte } of edits) if (at < length) damaged[at] = byte;
        try {
          expect(codec.decode(damaged, reference, [10, 7]).length).toBe(70);
        } catch (error) {
          expect(error).toBeInstanceOf(FedloomError);
          expect(error).toMatchObject({ code: "F3009" });
        }
      }),
    );
    const short = bytes.subarray(0, bytes.length - 1);
    expect(() => codec.decode(short, reference, [10, 7])).toThrow(/Cannot decode an update with codec/);
  });
});

describe("stochastic rounding", () => {
  test.each(["int8", "int4"])("of %s is right on average", (name) => {
    const codec = codecOf(name);
    const values = Float32Array.of(1, 0.123, -0.377, 0.0191, -0.9);
    const reference = new Float32Array(5);
    const runs = 4000;
    const mean = new Float64Array(5);
    for (let run = 0; run < runs; run++) {
      const back = codec.decode(codec.encode(values, reference, [5], createRng(run)), reference, [5]);
      for (let i = 0; i < 5; i++) mean[i]! += back[i]! / runs;
    }
    // One draw deviates by at most half a step, so the mean of 4000 by half a step / sqrt(4000); five of those.
    const step = 1 / (name === "int8" ? 127 : 7);
    for (let i = 0; i < 5; i++)
      expect(Math.abs(mean[i]! - values[i]!)).toBeLessThan((5 * step) / 2 / Math.sqrt(runs));
  });
});

describe("top-k", () => {
  const topk = codecOf("topk");

  test("sends the twentieth that changed most, the first of equal ones", () => {
    const reference = new Float32Array(60);
    const values = reference.slice();
    values.set([0.5, -3, 2, 2, 2], 10);
    const back = topk.decode(topk.encode(values, reference, [60], createRng(0)), reference, [60]);
    expect([...back.subarray(10, 15)]).toEqual([0, -3, 2, 2, 0]);
  });

  test("finds positions far apart, of numbers of every size", () => {
    const reference = new Float32Array(100_000);
    const values = reference.slice();
    const at = [0, 127, 128, 300, 16_000, 99_999];
    for (const [i, position] of at.entries()) values[position] = 10 ** (4 * i - 30) * (i % 2 === 0 ? 1 : -1);
    expect(
      topk.decode(topk.encode(values, reference, [100_000], createRng(0)), reference, [100_000]),
    ).toEqual(values);
  });
});

describe("an encoded update", () => {
  const shape = [40, 8];
  const random = (seed: string) => {
    const rng = createRng(seed);
    return float32(
      shape,
      Float32Array.from({ length: 320 }, () => rng.normal()),
    );
  };
  const handedOut = tensorSet([
    ["a", random("a")],
    ["b", random("b")],
  ]);
  const bytes = writeSafetensors(handedOut);
  const reference = { tensors: handedOut, sha256: sha256(bytes) };
  const origin = { file: viewSafetensors(bytes), sha256: reference.sha256 };
  const update = tensorSet([
    ["a", random("a2")],
    ["b", random("b2")],
  ]);
  const encodedBytes = (...given: Parameters<typeof encodeUpdate>): Uint8Array =>
    Buffer.concat(encodeUpdate(...given).pieces);
  const decode = (encoded: Uint8Array, from = origin): TensorSet => {
    const opened = openUpdate(viewSafetensors(encoded), from);
    return tensorSet(opened.names.map((name) => [name, opened.read(name)]));
  };

  test.each(CODEC_NAMES)("in %s tells its codec and is read as whole tensors", (name) => {
    const encoded = encodedBytes(codecOf(name), update, reference, createRng("r"), {
      metadata: { "fedloom.base": "b".repeat(64) },
    });
    const file = viewSafetensors(encoded);
    expect(file.metadata).toMatchObject({ format: "pt", "fedloom.base": "b".repeat(64) });
    expect(file.metadata["fedloom.codec"]).toBe(name === "fp32" ? undefined : name);
    const opened = openUpdate(file, origin);
    expect(opened.info("a")).toMatchObject({ dtype: "F32", shape });
    const back = decode(encoded);
    expect([...back.keys()]).toEqual(["a", "b"]);
    expect(encodedBytes(codecOf(name), update, reference, createRng("r")).length).toBeLessThanOrEqual(
      encoded.length,
    );
    if (name.endsWith("fp32")) expect(back).toEqual(update);
    else expect(back).not.toEqual(update);
  });

  test("in fp32 is the ordinary file of an adapter", () => {
    expect(readSafetensors(encodedBytes(codecOf("fp32"), update, reference, createRng(0)))).toEqual(update);
  });

  test("keeps the element type that was handed out", () => {
    const half = tensorSet([["a", tensor("F16", [2], Uint16Array.of(0x3c00, 0x4000))]]);
    const file = writeSafetensors(half);
    const encoded = encodedBytes(
      codecOf("rows/fp32"),
      half,
      { tensors: half, sha256: sha256(file) },
      createRng(0),
    );
    expect(decode(encoded, { file: viewSafetensors(file), sha256: sha256(file) })).toEqual(half);
  });

  test("counts from one adapter only", () => {
    const encoded = encodedBytes(codecOf("int8"), update, reference, createRng(0));
    expect(() => decode(encoded, { ...origin, sha256: "f".repeat(64) })).toThrow(
      expect.objectContaining({ code: "F3011", message: expect.stringContaining("this is ffffffffffff") }),
    );
  });

  test.each<[string, TensorSet, string]>([
    [
      "a tensor that was not handed out",
      tensorSet([["c", tensor("U8", [1], Uint8Array.of(1))]]),
      'tensor "c" was not handed out',
    ],
    ["a tensor that is no bytes", tensorSet([["a", float32([1], [1])]]), "must be bytes, got F32"],
    [
      "too few bytes",
      tensorSet([["a", tensor("U8", [1], Uint8Array.of(1))]]),
      "a tensor must have 328 bytes, got 1",
    ],
  ])("with %s is refused", (_what, tensors, message) => {
    const encoded = writeSafetensors(tensors, {
      "fedloom.codec": "int8",
      "fedloom.reference": reference.sha256,
    });
    expect(() => decode(encoded)).toThrow(
      expect.objectContaining({ code: "F3009", message: expect.stringContaining(message) }),
    );
  });

  test.each(["fp16", "int8", "topk"])("in %s with a value that is not finite is refused by name", (name) => {
    const broken = tensorSet([
      [
        "a",
        float32(
          shape,
          Float32Array.from({ length: 320 }, (_, i) => (i === 7 ? Number.NaN : 0)),
        ),
      ],
    ]);
    expect(() => encodeUpdate(codecOf(name), broken, reference, createRng(0))).toThrow(
      /Cannot encode tensor "a"/,
    );
  });

  test("in fp16 with a change beyond its range is refused, in bf16 not", () => {
    const far = tensorSet([["a", float32(shape, new Float32Array(320).fill(1e6))]]);
    expect(() => encodeUpdate(codecOf("fp16"), far, reference, createRng(0))).toThrow(
      /codec "fp16": element 0 was .* and became 1000000/,
    );
    encodeUpdate(codecOf("bf16"), far, reference, createRng(0));
  });

  test("sends later what error feedback held back: sent and kept together are what was changed", () => {
    let memory: TensorSet = new Map();
    let sent = new Float64Array(320);
    const rounds = 30;
    for (let round = 0; round < rounds; round++) {
      const encoded = encodeUpdate(codecOf("topk"), update, reference, createRng(round), { memory });
      memory = readSafetensors(writeSafetensors(encoded.memory)); // it survives a restart
      const back = decode(Buffer.concat(encoded.pieces)).get("a")!.data as Float32Array;
      sent = sent.map((value, i) => value + (back[i]! - (handedOut.get("a")!.data[i] as number)));
    }
    const changed = update.get("a")!.data as Float32Array;
    for (let i = 0; i < 320; i++) {
      const wanted = rounds * (changed[i]! - (handedOut.get("a")!.data[i] as number));
      expect(sent[i]! + (memory.get("a")!.data[i] as number)).toBeCloseTo(wanted, 3);
    }
    // Nothing starves: every element was sent at least once, or is still smaller than those that were.
    const kept = memory.get("a")!.data as Float32Array;
    expect(Math.max(...kept.map(Math.abs))).toBeLessThan((320 / (0.05 * 320)) * 4);
  });

  test("reports its bytes by group of tensors", () => {
    const file = viewSafetensors(encodedBytes(codecOf("int4"), update, reference, createRng(0)));
    // 320 codes of half a byte and 5 scales of 4 bytes
    expect(bytesByGroup(file, (name) => (name === "a" ? "image" : "text"))).toEqual({
      image: 180,
      text: 180,
    });
    expect(bytesByGroup(file, () => "shared")).toEqual({ shared: 360 });
  });
});

describe("negotiation", () => {
  test("takes the first codec wanted that the client understands, else fp32", () => {
    expect(negotiate(["int4", "int8"], ["fp32", "int8", "int4"]).name).toBe("int4");
    expect(negotiate(["int4", "int8"], ["fp32", "int8", "future"]).name).toBe("int8");
    expect(negotiate(["int4"], []).name).toBe("fp32");
  });

  test("refuses a wanted codec that does not exist, and lists those that do", () => {
    expect(() => negotiate(["int3"], ["int3"])).toThrow(
      'Cannot use codec "int3": known are fp32, fp16, bf16, int8',
    );
  });
});
