import { expect, test } from "vitest";
import { float32, type Tensor } from "../../../adapters/tensor.ts";
import { fitInput, fitInputs } from "../../../training/onnx/fit-inputs.ts";

const pixels = float32([2], [1, -0.5]);
const mask: Tensor = { dtype: "BOOL", shape: [3], data: Uint8Array.of(1, 0, 1) };
const inputs = new Map([
  ["pixel_values", pixels],
  ["pixel_attention_mask", mask],
]);

test("what a graph takes as it is stays the same tensor, what it does not have is left out", () => {
  const fitted = fitInputs([{ name: "pixel_values", type: "F32" }], inputs);
  expect([...fitted.keys()]).toEqual(["pixel_values"]);
  expect(fitted.get("pixel_values")).toBe(pixels);
});

test("float16 graphs get float16, integer masks integers", () => {
  const fitted = fitInputs(
    [
      { name: "pixel_values", type: "F16" },
      { name: "pixel_attention_mask", type: "I64" },
    ],
    inputs,
  );
  // 1 is 0x3c00 in float16, -0.5 is 0xb800
  expect(fitted.get("pixel_values")).toEqual({
    dtype: "F16",
    shape: [2],
    data: Uint16Array.of(0x3c00, 0xb800),
  });
  expect(fitted.get("pixel_attention_mask")).toEqual({
    dtype: "I64",
    shape: [3],
    data: BigInt64Array.of(1n, 0n, 1n),
  });
});

test("masks of integers fit graphs that take booleans, narrower integers or floats", () => {
  const bits: Tensor = { dtype: "I64", shape: [3], data: BigInt64Array.of(1n, 0n, 1n) };
  expect(fitInput(bits, "BOOL")).toEqual(mask);
  expect(fitInput(bits, "I32")).toEqual({ dtype: "I32", shape: [3], data: Int32Array.of(1, 0, 1) });
  expect(fitInput(bits, "F32")).toEqual(float32([3], [1, 0, 1]));
});

test("nothing is converted that would not be the same afterwards", () => {
  const ids: Tensor = { dtype: "I64", shape: [2], data: BigInt64Array.of(7n, 2n ** 40n) };
  for (const type of ["BOOL", "I32", "F32"]) expect(fitInput(ids, type)).toBe(ids);
  expect(fitInput(pixels, "I64")).toBe(pixels);
});
