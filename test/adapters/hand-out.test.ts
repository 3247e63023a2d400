import { expect, test } from "vitest";
import { scaleOf } from "../../adapters/adapter.ts";
import { atRank, handOut } from "../../adapters/hand-out.ts";
import { adapter, aggregateOnce, dense, entry, plain } from "../aggregators/small.ts";

const A = "base_model.model.layers.0.q_proj.lora_A.weight";
const B = "base_model.model.layers.0.q_proj.lora_B.weight";
const HEAD = "base_model.model.head.weight";
const global = adapter(
  {
    [A]: [
      [1, 2, 3],
      [4, 5, 6],
    ],
    [B]: [
      [1, 10],
      [2, 20],
    ],
    [HEAD]: [7],
  },
  { rank: 2, alpha: 4 },
);

test("hands out the adapter itself where rank and alpha agree", () => {
  expect(handOut(global, { rank: 2, alpha: 4 })).toBe(global);
});

test("cuts off the last rows and columns, and keeps the scaled product of the others", () => {
  const small = handOut(global, { rank: 1, alpha: 8 });
  // Scale 2 before, 8 now: B is divided by 4.
  expect(plain(small.tensors)).toEqual({ [A]: [1, 2, 3], [B]: [0.25, 0.5], [HEAD]: [7] });
  const product = dense(
    small.tensors.get(B)!,
    small.tensors.get(A)!,
    scaleOf(small.config, "layers.0.q_proj"),
  );
  expect(product).toEqual([2, 4, 6, 4, 8, 12]);
});

test("pads with zeros beyond what there is: the product is the same", () => {
  const large = handOut(global, { rank: 4, alpha: 8 });
  expect(large.tensors.get(A)!.shape).toEqual([4, 3]);
  const before = dense(global.tensors.get(B)!, global.tensors.get(A)!, 2);
  expect(dense(large.tensors.get(B)!, large.tensors.get(A)!, 2)).toEqual(before);
});

/** rsLoRA, a layer whose rank and alpha patterns set apart: scales 3 / √2 and 5 / √1. */
const RS = {
  rank: 2,
  alpha: 3,
  rslora: true,
  rankPattern: { "layers\\.1\\..*": 1 },
  alphaPattern: { "(1|2)\\.q_proj": 5 },
};
const layer = (n: number, factor: "A" | "B") => `base_model.model.layers.${n}.q_proj.lora_${factor}.weight`;
const patterned = (sign = 1) =>
  adapter(
    {
      [layer(0, "A")]: [
        [1 * sign, 2],
        [-3, 4],
      ],
      [layer(0, "B")]: [
        [1, 2],
        [3, sign],
      ],
      [layer(1, "A")]: [[5, -6 * sign]],
      [layer(1, "B")]: [[2], [-1]],
    },
    RS,
  );
const productOf = ({ config, tensors }: ReturnType<typeof patterned>, n: number): number[] =>
  dense(tensors.get(layer(n, "B"))!, tensors.get(layer(n, "A"))!, scaleOf(config, `layers.${n}.q_proj`));
const expectNear = (got: readonly number[], wanted: readonly number[]): void => {
  expect(got.length).toBe(wanted.length);
  got.forEach((value, i) => {
    expect(Math.abs(value - wanted[i]!)).toBeLessThan(1e-9);
  });
};

test("with rsLoRA and patterns a larger rank leaves every module's product as it was", () => {
  const before = patterned();
  expect([0, 1].map((n) => scaleOf(before.config, `layers.${n}.q_proj`))).toEqual([3 / Math.sqrt(2), 5]);
  for (const after of [atRank(before, 4), handOut(before, { rank: 3, alpha: 7 })])
    for (const n of [0, 1]) expectNear(productOf(after, n), productOf(before, n));
});

test("with rsLoRA and patterns the first component alone is handed out at the scale of its own rank", () => {
  const [before, after] = [patterned(), handOut(patterned(), { rank: 1, alpha: 2 })];
  // 3 / √2 · [1, 3]ᵀ [1, 2], at scale 2 / √1
  const first = [1, 2, 3, 6].map((v) => (3 / Math.sqrt(2)) * v);
  expectNear(productOf(after, 0), first);
  expectNear(productOf(after, 1), productOf(before, 1));
});

test("flexlora averages the clients' products at their own scales, under rsLoRA and patterns", () => {
  const clients = [patterned(1), patterned(-1)];
  const wide = atRank(patterned(1), 4);
  const entries = [...clients, wide].map(({ config, tensors }, k) =>
    entry({ client: `c${k}`, examples: k + 1, steps: 1, touched: {}, metrics: {}, adapter: config }, tensors),
  );
  const global = atRank(patterned(1), 4);
  const { global: next } = aggregateOnce({ name: "flexlora" }, global, entries);
  for (const n of [0, 1]) {
    const parts = [...clients, wide].map((one) => productOf(one, n));
    const mean = parts[0]!.map((_, i) => (1 * parts[0]![i]! + 2 * parts[1]![i]! + 3 * parts[2]![i]!) / 6);
    expectNear(productOf(next, n), mean);
  }
});
