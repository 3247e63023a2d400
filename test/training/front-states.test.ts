/** Examples that are met again: what frozen layers give for them is computed once, and the same adapter comes out. */
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Adapter } from "../../adapters/adapter.ts";
import { float32 } from "../../adapters/tensor.ts";
import { systemClock } from "../../base/clock.ts";
import { trainingOptions } from "../../config/training.ts";
import type { Example, Media } from "../../data/example.ts";
import { createFeatureCache } from "../../training/feature-cache.ts";
import type { Form } from "../../training/form.ts";
import { FrontStates } from "../../training/front-states.ts";
import { openGenerator } from "../../training/generator.ts";
import type { Learner, Row } from "../../training/learner.ts";
import { trainAlone, training } from "../../training/loop.ts";
import { openModelDirectory } from "../../training/models/model-directory.ts";
import type { Batch } from "../../training/onnx/engine.ts";
import { openOnnxTrainer } from "../../training/onnx-trainer.ts";
import type { TextRow } from "../../training/text-rows.ts";
import type { AdapterRequest, Trainer } from "../../training/trainer.ts";

const MODELS = join(import.meta.dirname, "../golden/models");
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

/** After ten steps of AdamW, relative to a tensor's largest movement: the golden tests' bound for an adapter. */
const SAME = 1e-3;

const REQUEST: AdapterRequest = {
  rank: 4,
  alpha: 8,
  rslora: false,
  dropout: 0.1,
  targets: "all-linear",
  rankPattern: {},
  alphaPattern: {},
  modulesToSave: [],
};

const OPTIONS = trainingOptions.parse({
  learning_rate: 5e-3,
  num_train_epochs: 3,
  per_device_train_batch_size: 2,
});

async function square(color: string): Promise<Media> {
  const bytes = await sharp({ create: { width: 40, height: 40, channels: 3, background: color } })
    .png()
    .toBuffer();
  return { name: `${color}.png`, read: async () => bytes };
}

/** Of unequal lengths, some with a picture. */
async function examples(): Promise<Example[]> {
  const [red, blue] = [await square("red"), await square("blue")];
  const asked = [
    "What color?",
    "",
    "A long question, which wants to know: what color?",
    "Color?",
    "And this one?",
  ];
  return asked.map((content, i) => ({
    id: `e${i}`,
    turns: [
      { role: "user", content },
      { role: "assistant", content: i % 2 === 0 ? "red" : "blue" },
    ],
    images: i === 2 ? [] : [i % 2 === 0 ? red : blue],
    audios: [],
  }));
}

function expectSame(got: Adapter, wanted: Adapter, start: Adapter): void {
  for (const [name, { data }] of wanted.tensors) {
    const [theirs, mine, before] = [data, got.tensors.get(name)!.data, start.tensors.get(name)!.data] as [
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    const moved = theirs.reduce((max, v, i) => Math.max(max, Math.abs(v - before[i]!)), 0);
    const farthest = theirs.reduce((max, v, i) => Math.max(max, Math.abs(v - mine[i]!)), 0);
    expect(moved, name).toBeGreaterThan(0);
    expect(farthest / moved, name).toBeLessThan(SAME);
  }
}

describe("a picture-text model whose upper layer is trained", () => {
  let trainer: Trainer;
  let form: Form<TextRow>;
  let adapter: Adapter;
  beforeAll(async () => {
    const model = join(MODELS, "smolvlm-tiny");
    trainer = await openOnnxTrainer({ model, threads: 1, leastFront: 0 });
    form = await openGenerator(await openModelDirectory(model), { threads: 1, leastFront: 0 });
    const targets = String.raw`model\.text_model\.layers\.1\..*`;
    adapter = await trainer.createAdapter({ ...REQUEST, targets }, "1");
  });
  afterAll(async () => {
    await form.close();
    await trainer.close();
  });

  async function trained(learner: Learner<TextRow>): Promise<Adapter> {
    const rows: TextRow[] = [];
    for (const example of await examples()) rows.push(await form.trainingRow(example, 1200));
    const task = { adapter, options: OPTIONS, seed: "1" };
    return (await trainAlone(training(task, rows, learner, systemClock, {}), learner)).adapter;
  }

  test("gives the adapter that running all layers in each step gives", async () => {
    const open = await form.open(adapter);
    expectSame(await trained(open.repeating), await trained(open.learner), adapter);
    await open.close();
  });

  test("gives the same bytes the second time, when all is known, and so does another process", async () => {
    const task = { adapter, options: OPTIONS, seed: "1" };
    const [first, second] = [
      await trainer.train(task, await examples(), {}),
      await trainer.train(task, await examples(), {}),
    ];
    expect(second.adapter).toEqual(first.adapter);
    const open = await form.open(adapter);
    expect(await trained(open.repeating)).toEqual(first.adapter);
    await open.close();
  });

  test("one epoch in the only round runs all layers; in one of several rounds it keeps what they give", async () => {
    const options = { ...OPTIONS, num_train_epochs: 1 };
    const open = await form.open(adapter);
    const rows: TextRow[] = [];
    for (const example of await examples()) rows.push(await form.trainingRow(example, 1200));
    const by = async (learner: Learner<TextRow>) => {
      const run = training({ adapter, options, seed: "1" }, rows, learner, systemClock, {});
      return (await trainAlone(run, learner)).adapter;
    };
    const task = { adapter, options, seed: "1" };
    const alone = await trainer.train(task, await examples(), {});
    const repeated = await trainer.train({ ...task, rounds: 5 }, await examples(), {});
    expect(alone.adapter).toEqual(await by(open.learner));
    expect(repeated.adapter).toEqual(await by(open.repeating));
    await open.close();
  });

  test("which is too small for it to pay runs all layers, unless it is asked otherwise", async () => {
    const options = { ...OPTIONS, num_train_epochs: 1 };
    const plain = await openOnnxTrainer({ model: join(MODELS, "smolvlm-tiny"), threads: 1 });
    const task = { adapter, options, seed: "1" };
    const repeated = await plain.train({ ...task, rounds: 5 }, await examples(), {});
    expect(repeated.adapter).toEqual((await plain.train(task, await examples(), {})).adapter);
    await plain.close();
  });
});

test.each([
  { name: "the connector", request: { targets: "all-linear", train: "connector" } as const },
  {
    name: "the encoder's upper layer",
    request: { targets: String.raw`.*vision_model\.encoder\.layers\.1\..*`, train: "vision" } as const,
  },
])(
  "where $name is trained, the encoder's frozen layers see a picture once, and the adapter is the same",
  async ({ request }) => {
    const model = join(MODELS, "smolvlm-tiny");
    const trainer = await openOnnxTrainer({ model, threads: 1, leastFront: 0 });
    const adapter = await trainer.createAdapter({ ...REQUEST, ...request }, "1");
    const options = { ...OPTIONS, num_train_epochs: 1 };
    const task = { adapter, options, seed: "1" };
    const all = (await examples()).filter(({ images }) => images.length > 0);
    const whole = await trainer.train(task, all, {});
    const begun = await trainer.train({ ...task, rounds: 3 }, all, {});
    expectSame(begun.adapter, whole.adapter, adapter);
    expect((await trainer.train({ ...task, rounds: 3 }, all, {})).adapter).toEqual(begun.adapter);
    await trainer.close();
  },
);

test.each(["bert-tiny-classifier", "vit-tiny-classifier"])("%s: the same adapter", async (name) => {
  const trainer = await openOnnxTrainer({ model: join(MODELS, name), threads: 1, leastFront: 0 });
  const targets = String.raw`.*layer\.1\.(?!output\.LayerNorm).*`;
  const adapter = await trainer.createAdapter({ ...REQUEST, targets }, "1");
  const all = (await examples()).map((example, i) => ({
    ...example,
    label: String(i % 2),
    images: name.startsWith("vit") ? example.images : [],
  }));
  const some = all.filter(({ images }) => !name.startsWith("vit") || images.length === 1);
  // Not AdamW, which makes a step of every rounding where a query's gradient is next to none.
  const options = { ...OPTIONS, num_train_epochs: 1, optim: "sgd" as const, learning_rate: 1 };
  const task = { adapter, options, seed: "1" };
  const whole = await trainer.train(task, some, {});
  const begun = await trainer.train({ ...task, rounds: 3 }, some, {});
  expect(begun.adapter).not.toEqual(adapter);
  expectSame(begun.adapter, whole.adapter, adapter);
  await trainer.close();
});

interface Numbered extends Row {
  readonly value: number;
}

describe("states of rows", () => {
  const row = (id: string, value: number, length: number): Numbered => ({
    id,
    value,
    length,
    touched: { text: true, image: false, audio: false },
  });
  /** Position i of a row has [value, i]; padding behind it would show as the row's number negated. */
  function counting(disk: number) {
    const asked: string[] = [];
    const cache = createFeatureCache(1, disk);
    const states = new FrontStates<Numbered>({
      engine: {
        async front({ inputs }: Batch) {
          const [value, length] = inputs.get("row")!.data as Float32Array;
          asked.push(String(value));
          const data = Array.from({ length: 8 }, (_, i) => (i < length! ? [value!, i] : [-value!, i])).flat();
          return { place: "here", states: float32([1, 8, 2], data) };
        },
      },
      cache,
      batchOf: async ({ value, length }) => ({ inputs: new Map([["row", float32([2], [value, length])]]) }),
      keyOf: ({ value }) => String(value),
    });
    return { states, asked, cache };
  }
  const rows = [row("a", 1, 2), row("b", 2, 4), row("c", 3, 1)];

  test("stand one under the other, with the first token's where a row has ended", async () => {
    const { states, cache } = counting(Number.POSITIVE_INFINITY);
    const { place, states: given } = (await states.of(rows, 4))!;
    expect(place).toBe("here");
    expect(given).toEqual(
      float32([3, 4, 2], [1, 0, 1, 1, 1, 0, 1, 0, 2, 0, 2, 1, 2, 2, 2, 3, 3, 0, 3, 0, 3, 0, 3, 0]),
    );
    await cache.close();
  });

  test("are computed once a row, whatever batches it comes in", async () => {
    const { states, asked, cache } = counting(Number.POSITIVE_INFINITY);
    for (let epoch = 0; epoch < 3; epoch++) {
      await states.of([rows[epoch]!, rows[0]!], 4);
      await states.of(rows, 6);
    }
    expect(asked).toEqual(["1", "2", "3"]);
    await cache.close();
  });

  test("are computed again where the cache has no room, and are the same", async () => {
    const { states, asked, cache } = counting(0);
    const first = await states.of(rows, 4);
    expect(await states.of(rows, 4)).toEqual(first);
    expect(asked.length).toBeGreaterThan(3);
    await cache.close();
  });
});
