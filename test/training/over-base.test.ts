import { join } from "node:path";
import { expect, test, vi } from "vitest";
import type { Adapter } from "../../adapters/adapter.ts";
import { readPeft } from "../../adapters/peft.ts";
import { stackOnBase } from "../../adapters/side-factors.ts";
import { float32, type Tensor, type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { openGenerator } from "../../training/generator.ts";
import { openModelDirectory } from "../../training/models/model-directory.ts";
import { assertNoDropout, overBase } from "../../training/over-base.ts";
import { throughView } from "../../training/view.ts";

const MODEL = join(import.meta.dirname, "../golden/models/smollm-tiny");
/** Opening a model and its first sessions takes a second, many times that on a machine whose cores others use. */
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

/** Rows [from, to) of A or columns [from, to) of B, times a factor. */
function part(name: string, { shape, data }: Tensor, from: number, to: number, factor = 1): Tensor {
  const [rows, columns] = shape as [number, number];
  const isA = name.endsWith("lora_A.weight");
  const values = [...(data as Float32Array)].filter((_, i) => {
    const rank = isA ? Math.floor(i / columns) : i % columns;
    return rank >= from && rank < to;
  });
  return float32(
    isA ? [to - from, columns] : [rows, to - from],
    values.map((value) => value * factor),
  );
}

const partOf = (set: TensorSet, from: number, to: number, factorOfB = 1): TensorSet =>
  tensorSet(
    [...set].map(([name, t]) => [name, part(name, t, from, to, name.includes("lora_B") ? factorOfB : 1)]),
  );

test("half an adapter over the other half in the base has the whole's loss and its own half of the gradients", async () => {
  const whole = await readPeft(join(MODEL, "reference/r8_a16_all/adapter"));
  const { rank, alpha } = whole.config;
  const scale = alpha / rank;
  const own: Adapter = {
    config: { ...whole.config, rank: rank / 2, alpha: alpha / 2 },
    tensors: partOf(whole.tensors, 0, rank / 2),
  };
  const side = partOf(whole.tensors, rank / 2, rank, scale);
  const model = await openGenerator(await openModelDirectory(MODEL), { threads: 1 });
  const stacked = stackOnBase(own, side);
  const [ofWhole, ofStacked] = [await model.open(whole), await model.open(stacked)];
  try {
    const row = await model.trainingRow(
      {
        id: "a",
        turns: [
          { role: "user", content: "what color is the square ?" },
          { role: "assistant", content: "red ." },
        ],
        images: [],
        audios: [],
      },
      100,
    );
    const wanted = await ofWhole.learner.gradients([row], whole.tensors);
    const got = await throughView(ofStacked.learner, overBase(stacked)).gradients([row], own.tensors);
    // The order of the rank's terms differs, so does float32's last bit, through two layers.
    expect(got.lossSum).toBeCloseTo(wanted.lossSum, 4);
    const half = partOf(wanted.gradients, 0, rank / 2);
    expect([...got.gradients.keys()]).toEqual([...half.keys()]);
    for (const [name, { shape, data }] of got.gradients) {
      const reference = half.get(name)!;
      expect(shape).toEqual(reference.shape);
      const values = reference.data as Float32Array;
      const largest = values.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
      (data as Float32Array).forEach((value, i) => {
        expect(Math.abs(value - values[i]!), name).toBeLessThanOrEqual(1e-4 * largest);
      });
    }
  } finally {
    await ofWhole.close();
    await ofStacked.close();
    await model.close();
  }
});

test("dropout is refused: it would fall on the base's side factors too", async () => {
  const adapter = await readPeft(join(MODEL, "reference/r8_a16_all/adapter"));
  expect(() => assertNoDropout(adapter)).not.toThrow();
  expect(() => assertNoDropout({ ...adapter, config: { ...adapter.config, dropout: 0.1 } })).toThrow(
    "Cannot train over a base with side factors: the adapter's dropout must be 0, got 0.1",
  );
});
