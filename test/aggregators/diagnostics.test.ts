import { expect, test } from "vitest";
import { diagnose } from "../../aggregators/diagnostics.ts";
import { collectUpdates } from "../../aggregators/updates.ts";
import { createRng } from "../../base/rng.ts";
import { adapter, CONFIG, dense, update } from "./small.ts";

const A = "base_model.model.layers.0.q_proj.lora_A.weight";
const B = "base_model.model.layers.0.q_proj.lora_B.weight";
const HEAD = "base_model.model.head.weight";
const global = adapter({ [A]: [[1, 1]], [B]: [[0], [0]], [HEAD]: [0, 0, 0] });

test("norms, cosines and drift of what the clients changed", () => {
  const updates = collectUpdates([
    update("c1", 1, { [A]: [[1, 1]], [B]: [[3], [0]], [HEAD]: [4, 0, 0] }),
    update("c2", 1, { [A]: [[1, 1]], [B]: [[3], [0]], [HEAD]: [-4, 0, 0] }),
  ]);
  const report = diagnose(global, { global }, updates);
  // d_1 = (3, 0 | 4, 0, 0), d_2 = (3, 0 | −4, 0, 0), mean (3, 0 | 0, 0, 0)
  expect(report["norm.c1"]).toBeCloseTo(5, 12);
  expect(report["norm.c2"]).toBeCloseTo(5, 12);
  expect(report["cosine.c1"]).toBeCloseTo(3 / 5, 12);
  expect(report.drift).toBeCloseTo(4 / 3, 12);
});

test("a client that pulls against the others has a negative cosine", () => {
  const moved = (x: number) => ({ [A]: [[1, 1]], [B]: [[0], [0]], [HEAD]: [x, x, 0] });
  const updates = collectUpdates([
    update("c1", 1, moved(1)),
    update("c2", 1, moved(1)),
    update("c3", 1, moved(-1)),
  ]);
  const report = diagnose(global, { global }, updates);
  expect(report["cosine.c1"]).toBeCloseTo(1, 12);
  expect(report["cosine.c3"]).toBeCloseTo(-1, 12);
});

test("sign conflict: the share of clients in the minority, mean over coordinates, and by module", () => {
  const updates = collectUpdates([
    update("c1", 1, { [A]: [[2, 2]], [B]: [[1], [1]], [HEAD]: [1, 1, 0] }),
    update("c2", 1, { [A]: [[2, 0]], [B]: [[1], [1]], [HEAD]: [1, -1, 0] }),
    update("c3", 1, { [A]: [[2, 2]], [B]: [[1], [1]], [HEAD]: [1, -1, 0] }),
  ]);
  const report = diagnose(global, { global }, updates);
  // q_proj: one of four coordinates has one of three against it: (1/3)/4. head: one of three: (1/3)/3.
  expect(report["signConflict.layers.0.q_proj"]).toBeCloseTo(1 / 12, 12);
  expect(report["signConflict.head"]).toBeCloseTo(1 / 9, 12);
  expect(report.signConflict).toBeCloseTo((2 * (1 / 3)) / 7, 12);
});

test("product error of the new factors, and none where nobody sent factors", () => {
  const sent = [
    update("c1", 1, { [A]: [[1, 0]], [B]: [[1], [0]], [HEAD]: [0, 0, 0] }),
    update("c2", 1, { [A]: [[0, 1]], [B]: [[0], [1]], [HEAD]: [0, 0, 0] }),
  ];
  const averaged = adapter({ [A]: [[0.5, 0.5]], [B]: [[0.5], [0.5]], [HEAD]: [0, 0, 0] });
  const report = diagnose(global, { global: averaged }, collectUpdates(sent));
  // Mean of products diag(1/2, 1/2); product of means 1/4 everywhere: error 1/2 of size √(1/2)
  expect(report.productError).toBeCloseTo(0.5 / Math.SQRT1_2, 12);
  expect(report["productError.layers.0.q_proj"]).toBeCloseTo(0.5 / Math.SQRT1_2, 12);
  const heads = collectUpdates([update("c1", 1, { [HEAD]: [1, 1, 1] })]);
  expect(diagnose(global, { global }, heads)).not.toHaveProperty("productError");
});

test("product error of many clients, by vector instructions, is that of dense products", () => {
  const [rank, width, out] = [3, 40, 31];
  const rng = createRng("many");
  const drawn = (rows: number, cols: number) =>
    Array.from({ length: rows }, () => Array.from({ length: cols }, () => rng.normal()));
  const config = { rank, alpha: rank };
  const sent = Array.from({ length: 30 }, (_, k) =>
    update(
      `c${k}`,
      1 + k,
      { [A]: drawn(rank, width), [B]: drawn(out, rank) },
      { adapter: { ...CONFIG, ...config } },
    ),
  );
  const next = adapter({ [A]: drawn(rank, width), [B]: drawn(out, rank) }, config);
  const report = diagnose(next, { global: next }, collectUpdates(sent));
  const total = sent.reduce((sum, { info }) => sum + info.examples, 0);
  const exact = new Array<number>(out * width).fill(0);
  for (const { info, tensors } of sent) {
    for (const [i, value] of dense(tensors.read(B), tensors.read(A), info.examples / total).entries()) {
      exact[i]! += value;
    }
  }
  const ours = dense(next.tensors.get(B)!, next.tensors.get(A)!);
  const missed = Math.hypot(...exact.map((value, i) => value - ours[i]!)) / Math.hypot(...exact);
  expect(report.productError! / missed).toBeCloseTo(1, 10);
});

test("clients that did not move have no cosine and no drift, not NaN", () => {
  const report = diagnose(global, { global }, collectUpdates([update("c1", 1, { [HEAD]: [0, 0, 0] })]));
  expect(report).toEqual({ "norm.c1": 0, signConflict: 0, "signConflict.head": 0 });
});
