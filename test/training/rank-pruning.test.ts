/** HetLoRA's term and its pruning at the client. */
import { expect, test } from "vitest";
import { gradientTerms } from "../../training/gradient-terms.ts";
import { prunedRank } from "../../training/rank-pruning.ts";
import { adapter, plain } from "../aggregators/small.ts";

const A = "base_model.model.layers.0.q_proj.lora_A.weight";
const B = "base_model.model.layers.0.q_proj.lora_B.weight";
const OTHER_A = "base_model.model.layers.1.v_proj.lora_A.weight";
const OTHER_B = "base_model.model.layers.1.v_proj.lora_B.weight";

test("the tail term's gradient agrees with central differences of λ Σ ||B[:, > γr]|| ||A[> γr, :]||", () => {
  const [lambda, keep, rank] = [0.7, 0.6, 3]; // ⌊0.6 · 3⌋ = 1: the last two rows and columns
  const parameters = [
    { name: A, shape: [3, 2], data: Float32Array.of(0.3, -0.2, 0.6, -1.1, 0.4, 0.5) },
    { name: B, shape: [4, 3], data: Float32Array.from({ length: 12 }, (_, i) => Math.sin(i + 1)) },
    { name: OTHER_A, shape: [3, 5], data: Float32Array.from({ length: 15 }, (_, i) => Math.cos(i)) },
    { name: OTHER_B, shape: [1, 3], data: Float32Array.of(1, -2, 0.25) },
  ];
  const values = parameters.map(({ data }) => [...data]);
  const tail = (at: number, part: "A" | "B") => {
    const cols = parameters[at]!.shape[1]!;
    const row = (i: number) => (part === "A" ? Math.floor(i / cols) : i % cols);
    return Math.hypot(...values[at]!.filter((_, i) => row(i) >= Math.floor(keep * rank)));
  };
  const value = () => lambda * (tail(0, "A") * tail(1, "B") + tail(2, "A") * tail(3, "B"));
  const gradients = new Map(parameters.map(({ name, data }) => [name, new Float32Array(data.length)]));
  gradientTerms({ regularizers: { tail: { lambda, keep } } }, parameters)(gradients, 0);
  for (const [at, { name }] of parameters.entries()) {
    for (let i = 0; i < values[at]!.length; i++) {
      const origin = values[at]![i]!;
      values[at]![i] = origin + 1e-5;
      const above = value();
      values[at]![i] = origin - 1e-5;
      const below = value();
      values[at]![i] = origin;
      expect(gradients.get(name)![i]).toBeCloseTo((above - below) / 2e-5, 6); // float32 gradients of about 1
    }
  }
});

test("where a tail is zero, as B's is at the start, the term adds nothing", () => {
  const parameters = [
    { name: A, shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) },
    { name: B, shape: [2, 2], data: new Float32Array(4) },
  ];
  const gradients = new Map(parameters.map(({ name, data }) => [name, new Float32Array(data.length)]));
  gradientTerms({ regularizers: { tail: { lambda: 1, keep: 0.5 } } }, parameters)(gradients, 0);
  for (const gradient of gradients.values()) expect([...gradient]).toEqual([0, 0, 0, 0]);
});

const factors = (last: number) =>
  adapter(
    {
      [A]: [
        [1, 2, 3],
        [4, 5, last],
      ],
      [B]: [
        [1, last],
        [2, 1],
      ],
    },
    { rank: 2, alpha: 6 },
  );

test("the rank falls to ⌊γ r⌋ where the last rows lost weight, the rest staying as it is at the same scale", () => {
  const pruned = prunedRank(factors(6), factors(5), { keep: 0.5, leastRank: 1 });
  expect(plain(pruned.tensors)).toEqual({ [A]: [1, 2, 3], [B]: [1, 2] });
  expect(pruned.config).toMatchObject({ rank: 1, alpha: 3 }); // α/r stays 3
});

test("the rank stays where they gained, where they are alike, and at the least rank", () => {
  const after = factors(6);
  expect(prunedRank(factors(5), after, { keep: 0.5, leastRank: 1 })).toBe(after);
  expect(prunedRank(factors(6), after, { keep: 0.5, leastRank: 1 })).toBe(after);
  expect(prunedRank(factors(9), after, { keep: 0.5, leastRank: 2 })).toBe(after);
});
