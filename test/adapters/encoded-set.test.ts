/** Sets beside an update in 8 bits of their logarithm. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { floats } from "../../adapters/cast.ts";
import { decodeLog8, encodeLog8 } from "../../adapters/codecs/log8.ts";
import { encodeSet, negotiateSet, openSet } from "../../adapters/encoded-set.ts";
import { viewSafetensors, writeSafetensors } from "../../adapters/safetensors.ts";
import { float32, tensor, tensorSet } from "../../adapters/tensor.ts";

/** Float32 rounds the decoded value once more. */
const ROUNDING = 1e-6;

const positive = fc.double({ min: 1e-30, max: 1e12, noNaN: true }).map(Math.fround);

test("every value comes back within the factor (most / least)^(1/508) of its block, and zeros as zeros", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(positive, fc.constant(0)), { minLength: 1, maxLength: 700 }), (list) => {
      const values = Float32Array.from(list);
      const back = decodeLog8(encodeLog8(values), values.length);
      for (let from = 0; from < values.length; from += 256) {
        const block = values.subarray(from, from + 256);
        const above = block.filter((value) => value > 0);
        const bound = (Math.max(...above) / Math.min(...above)) ** (1 / 508);
        for (const [i, value] of block.entries()) {
          const got = back[from + i]!;
          if (value === 0) expect(got).toBe(0);
          else expect(Math.max(got / value, value / got)).toBeLessThanOrEqual(bound * (1 + ROUNDING));
        }
      }
    }),
  );
});

test("a block's least and largest value are exact, and one value alone is", () => {
  const values = Float32Array.of(3e-9, 0.25, 7e5);
  const back = decodeLog8(encodeLog8(values), 3);
  expect([back[0], back[2]]).toEqual([values[0], values[2]]);
  expect([...decodeLog8(encodeLog8(Float32Array.of(0, 0.1, 0.1)), 3)]).toEqual([
    0,
    Math.fround(0.1),
    Math.fround(0.1),
  ]);
});

test("merging with it moves a coordinate by at most δ times the distance of the clients' values", () => {
  const unit = fc.double({ min: -1, max: 1, noNaN: true });
  fc.assert(
    fc.property(fc.array(fc.tuple(positive, unit), { minLength: 2, maxLength: 40 }), (pairs) => {
      // Each client codes its information in a block with other values.
      const context = Float32Array.of(1e-6, 1e6);
      const coded = pairs.map(([f]) => decodeLog8(encodeLog8(Float32Array.of(f, ...context)), 3)[0]!);
      const merged = (weights: readonly number[]) =>
        weights.reduce((sum, w, k) => sum + w * pairs[k]![1], 0) / weights.reduce((sum, w) => sum + w, 0);
      const factor = Math.max(...pairs.map(([f]) => (Math.max(f, 1e6) / Math.min(f, 1e-6)) ** (1 / 508)));
      const values = pairs.map(([, value]) => value);
      const spread = Math.max(...values) - Math.min(...values);
      // Weights off by factors from 1/φ to φ move a weighted mean by (φ² − 1) / 2 of the spread at most.
      const bound = ((factor ** 2 - 1) / 2) * spread * (1 + ROUNDING) + 1e-9;
      expect(Math.abs(merged(coded) - merged(pairs.map(([f]) => f)))).toBeLessThanOrEqual(bound);
    }),
  );
});

const set = tensorSet([
  [
    "a",
    float32(
      [2, 300],
      Float32Array.from({ length: 600 }, (_, i) => (i % 7) * 1e-4),
    ),
  ],
  ["b", float32([3], [0, 1, 2])],
]);
const origin = viewSafetensors(writeSafetensors(set));

test("a coded set is read as float32 tensors of the handed-out shapes, in a quarter of the bytes", () => {
  const bytes = encodeSet("log8", set);
  const opened = openSet(viewSafetensors(bytes), origin);
  expect(opened.info("a")).toMatchObject({ dtype: "F32", shape: [2, 300] });
  expect(floats(opened.read("b"))).toEqual(Float32Array.of(0, 1, 2));
  expect(bytes.length).toBeLessThan(0.5 * writeSafetensors(set).length); // headers of two small tensors included
  expect(openSet(viewSafetensors(encodeSet("fp32", set)), origin).read("a")).toEqual(set.get("a"));
});

test("a coded set that is damaged or of another adapter is refused", () => {
  const file = viewSafetensors(encodeSet("log8", set));
  const other = viewSafetensors(writeSafetensors(tensorSet([["a", float32([1], [1])]])));
  expect(() => openSet(file, other)).toThrow(
    'Cannot decode an update with codec "log8": tensor "b" was not handed out',
  );
  const short = tensorSet([["a", tensor("U8", [5], new Uint8Array(5))]]);
  const cut = viewSafetensors(writeSafetensors(short, { "fedloom.set-codec": "log8" }));
  expect(() => openSet(cut, origin).read("a")).toThrow("a tensor must have 624 bytes, got 5");
  const unknown = viewSafetensors(writeSafetensors(short, { "fedloom.set-codec": "log7" }));
  expect(() => openSet(unknown, origin)).toThrow("for sets there are log8");
  const wild = new Uint8Array(8 + 3).fill(255);
  expect(() => decodeLog8(wild, 3)).toThrow("block 0 cannot range from NaN to NaN");
  expect(() => encodeLog8(Float32Array.of(-1))).toThrow("Only finite numbers from 0 on");
});

test("is sent to those that understand it", () => {
  expect(negotiateSet(["log8"], ["fp32", "log8"])).toBe("log8");
  expect(negotiateSet(["log8"], ["fp32", "int8"])).toBe("fp32");
  expect(negotiateSet([], ["log8"])).toBe("fp32");
});
