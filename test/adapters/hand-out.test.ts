import { expect, test } from "vitest";
import { scaleOf } from "../../adapters/adapter.ts";
import { handOut } from "../../adapters/hand-out.ts";
import { adapter, dense, plain } from "../aggregators/small.ts";

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
