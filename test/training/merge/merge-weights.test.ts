import { describe, expect, test } from "vitest";
import type { Adapter, AdapterConfig } from "../../../adapters/adapter.ts";
import { float32, type Tensor, tensor, tensorSet } from "../../../adapters/tensor.ts";
import { planMerge } from "../../../training/merge/merge-weights.ts";
import type { Place } from "../../../training/merge/places.ts";
import { weightOf } from "../../../training/onnx/weight.ts";

const config: AdapterConfig = {
  base: "",
  rank: 1,
  alpha: 2,
  rslora: false,
  dropout: 0,
  targets: ["q", "e"],
  rankPattern: {},
  alphaPattern: {},
  modulesToSave: [],
};
const adapter = (entries: Record<string, Tensor>): Adapter => ({
  config,
  tensors: tensorSet(Object.entries(entries).map(([name, value]) => [`base_model.model.${name}`, value])),
});
/** scale 2 · B·A = 2 · [1; 10]·[1 2 3] = [2 4 6; 20 40 60] */
const pair = adapter({
  "q.lora_A.weight": float32([1, 3], [1, 2, 3]),
  "q.lora_B.weight": float32([2, 1], [1, 10]),
});

/** A place in a weight whose numbers are all 100, and what it holds after the merge. */
function merged(of: Adapter, stored: number[], place: Omit<Place, "weightName" | "weight">): number[] {
  const data = new Float32Array(stored.reduce((product, dim) => product * dim, 1)).fill(100);
  const weight = weightOf("F32", stored, data);
  const [change] = [...planMerge(of, () => [{ weightName: "w", weight, ...place }], "model.onnx").merged()];
  expect(data.every((value) => value === 100)).toBe(true);
  return [...new Float32Array(change!.bytes.buffer as ArrayBuffer)];
}

describe("a merged weight", () => {
  test("is W + scale * B·A where the graph stores [out, in]", () => {
    const place = { rows: 2, columns: 3, start: 0, rowStep: 3, columnStep: 1 };
    expect(merged(pair, [2, 3], place)).toEqual([102, 104, 106, 120, 140, 160]);
  });

  test("is its transpose where the graph stores [in, out]", () => {
    const place = { rows: 2, columns: 3, start: 0, rowStep: 1, columnStep: 2 };
    expect(merged(pair, [3, 2], place)).toEqual([102, 120, 104, 140, 106, 160]);
  });

  test("changes only its own columns of a packed one", () => {
    const place = { rows: 2, columns: 3, start: 1, rowStep: 1, columnStep: 4 };
    expect(merged(pair, [3, 4], place)).toEqual([100, 102, 120, 100, 100, 104, 140, 100, 100, 106, 160, 100]);
  });

  test("of an embedding is E + scale * (B·A)ᵀ: a row for each of A's columns", () => {
    const embedding = adapter({
      "e.lora_embedding_A": float32([1, 3], [1, 2, 3]),
      "e.lora_embedding_B": float32([2, 1], [1, 10]),
    });
    const place = { rows: 3, columns: 2, start: 0, rowStep: 2, columnStep: 1 };
    expect(merged(embedding, [3, 2], place)).toEqual([102, 120, 104, 140, 106, 160]);
  });

  test("is replaced by a whole one, and factors come on top of it", () => {
    const both = adapter({
      "q.base_layer.weight": float32([2, 3], [1, 1, 1, 1, 1, 1]),
      "q.lora_A.weight": float32([1, 3], [1, 2, 3]),
      "q.lora_B.weight": float32([2, 1], [1, 10]),
    });
    const place = { rows: 2, columns: 3, start: 0, rowStep: 3, columnStep: 1 };
    expect(merged(both, [2, 3], place)).toEqual([3, 5, 7, 21, 41, 61]);
    const bias = adapter({ "q.base_layer.bias": float32([2], [7, 8]) });
    expect(merged(bias, [4], { rows: 2, columns: 1, start: 1, rowStep: 1, columnStep: 1 })).toEqual([
      100, 7, 8, 100,
    ]);
  });

  test("in float16 is rounded once", () => {
    // 2048 + 1.5 lies between 2048 and 2050: float16 has steps of 2 there. 1.5 in two roundings of 1 would give 2048.
    const weight = weightOf("F16", [1, 1], Uint16Array.of(0x6800));
    const one = adapter({
      "q.lora_A.weight": float32([1, 1], [0.75]),
      "q.lora_B.weight": float32([1, 1], [1]),
    });
    const place = { weightName: "w", weight, rows: 1, columns: 1, start: 0, rowStep: 1, columnStep: 1 };
    const [change] = [...planMerge(one, () => [place], "m").merged()];
    expect([...new Float16Array(change!.bytes.buffer as ArrayBuffer)]).toEqual([2050]);
  });

  test("of integers is refused, one of another size too, and a tensor without a place is told", () => {
    const place = { weightName: "w", rows: 2, columns: 3, start: 0, rowStep: 3, columnStep: 1 };
    const weight = weightOf("I8", [2, 3], new Int8Array(6));
    expect(() => [...planMerge(pair, () => [{ ...place, weight }], "m").merged()]).toThrow(
      expect.objectContaining({
        code: "F3013",
        message: expect.stringContaining('weight "w" must be floating-point, got I8'),
      }),
    );
    expect(() => planMerge(pair, () => [{ ...place, columns: 4, weight }], "m")).toThrow(
      "wants 2 x 3 numbers",
    );
    expect(planMerge(pair, () => [], "m").placed.size).toBe(0);
    expect([...planMerge(pair, () => [{ ...place, weight }], "m").placed]).toEqual([...pair.tensors.keys()]);
  });

  test("takes half-precision factors as the numbers they are", () => {
    const half = adapter({
      "q.lora_A.weight": tensor("BF16", [1, 3], Uint16Array.of(0x3f80, 0x4000, 0x4040)),
      "q.lora_B.weight": tensor("F16", [2, 1], Uint16Array.of(0x3c00, 0x4900)),
    });
    const place = { rows: 2, columns: 3, start: 0, rowStep: 3, columnStep: 1 };
    expect(merged(half, [2, 3], place)).toEqual([102, 104, 106, 120, 140, 160]);
  });
});
