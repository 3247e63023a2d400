import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Adapter } from "../../adapters/adapter.ts";
import { readPeft } from "../../adapters/peft.ts";
import { float32, type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { createRng } from "../../base/rng.ts";
import { type Generator, openGenerator } from "../../training/generator.ts";
import { openModelDirectory } from "../../training/models/model-directory.ts";
import { dropoutMask } from "../../training/onnx/edge/masks.ts";
import type { TextLearner } from "../../training/text-learner.ts";
import type { TextRow } from "../../training/text-rows.ts";

const MODEL = join(import.meta.dirname, "../golden/models/smolvlm-tiny");
/** Opening a model and its first sessions takes a second, many times that on a machine whose cores others use. */
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

describe("a mask", () => {
  test("keeps its share of elements", () => {
    const { data } = dropoutMask("s", "m", [200, 500], 0.9);
    const kept = (data as Uint8Array).reduce((sum, bit) => sum + bit, 0);
    // binomial: 90,000 with a standard deviation of 95; within five of them but once in two million
    expect(Math.abs(kept - 90_000)).toBeLessThan(5 * 95);
  });

  test("is the same for the same seed and name, another for others", () => {
    const mask = (seed: string, name: string) => dropoutMask(seed, name, [7, 11], 0.5);
    expect(mask("s", "m")).toEqual(mask("s", "m"));
    expect(mask("s", "m")).not.toEqual(mask("t", "m"));
    expect(mask("s", "m")).not.toEqual(mask("s", "n"));
  });
});

describe("training with dropout, decoder and encoder", () => {
  let model: Generator;
  let plain: Adapter;
  let dropping: Adapter;
  let learner: TextLearner;
  let row: TextRow;
  beforeAll(async () => {
    model = await openGenerator(await openModelDirectory(MODEL), { threads: 1 });
    plain = await readPeft(join(MODEL, "reference/r4_a8_whole_model/adapter"));
    dropping = { ...plain, config: { ...plain.config, dropout: 0.2 } };
    ({ learner } = await model.open(dropping));
    const path = join(MODEL, "reference/images/0.png");
    row = await model.trainingRow(
      {
        id: "a",
        turns: [
          { role: "user", content: "what color ?" },
          { role: "assistant", content: "red ." },
        ],
        images: [{ name: path, read: async () => readFileSync(path) }],
        audios: [],
      },
      100,
    );
  });
  afterAll(() => model.close());

  test("gradients are those of the loss under the same masks", async () => {
    const rng = createRng("direction");
    const direction = new Map(
      [...dropping.tensors].map(([name, { data }]) => [
        name,
        Float64Array.from({ length: data.length }, () => rng.normal()),
      ]),
    );
    const moved = (by: number): TensorSet =>
      tensorSet(
        [...dropping.tensors].map(([name, { shape, data }]) => {
          const along = direction.get(name)!;
          return [
            name,
            float32(
              shape,
              Float32Array.from(data as Float32Array, (w, i) => w + by * along[i]!),
            ),
          ];
        }),
      );
    const step = 1e-3;
    const loss = async (by: number) => (await learner.gradients([row], moved(by), "seed")).lossSum;
    const difference = ((await loss(step)) - (await loss(-step))) / (2 * step);
    const { gradients } = await learner.gradients([row], dropping.tensors, "seed");
    expect([...gradients.keys()].some((name) => name.includes("vision_model"))).toBe(true);
    let product = 0;
    for (const [name, { data }] of gradients) {
      const along = direction.get(name)!;
      (data as Float32Array).forEach((g, i) => {
        product += g * along[i]!;
      });
    }
    // float32 losses of about 20, so differences to about 2e-6 / 2e-3; the direction's curvature adds its square
    expect(Math.abs(product - difference)).toBeLessThan(0.01 * Math.abs(difference));
  });

  test("the seed decides the masks, and without one nothing is dropped", async () => {
    const loss = async (seed?: string) => (await learner.gradients([row], dropping.tensors, seed)).lossSum;
    expect(await loss("a")).toBe(await loss("a"));
    expect(await loss("a")).not.toBe(await loss("b"));
    const { learner: without } = await model.open(plain);
    const { lossSum } = await without.gradients([row], plain.tensors, "a");
    expect(await loss()).toBe(lossSum);
    expect(await loss("a")).not.toBe(lossSum);
  });
});
