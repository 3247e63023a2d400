import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Adapter } from "../../adapters/adapter.ts";
import { createRng } from "../../base/rng.ts";
import { type TrainingOptions, trainingOptions } from "../../config/training.ts";
import type { Example, Media } from "../../data/example.ts";
import { openOnnxTrainer } from "../../training/onnx-trainer.ts";
import type { AdapterRequest, Trainer } from "../../training/trainer.ts";

const MODEL = join(import.meta.dirname, "../golden/models/smolvlm-tiny");
/** Opening a model and its first sessions takes a second, many times that on a machine whose cores others use. */
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const REQUEST: AdapterRequest = {
  rank: 8,
  alpha: 16,
  rslora: false,
  dropout: 0,
  targets: "all-linear",
  rankPattern: {},
  alphaPattern: {},
  modulesToSave: [],
};

const OPTIONS: TrainingOptions = trainingOptions.parse({
  learning_rate: 5e-3,
  per_device_train_batch_size: 4,
});

const COLORS = { red: "#dc1e1e", blue: "#283cdc" } as const;
type Color = keyof typeof COLORS;

async function square(color: Color): Promise<Media> {
  const bytes = await sharp({ create: { width: 40, height: 40, channels: 3, background: COLORS[color] } })
    .png()
    .toBuffer();
  return { name: `${color}.png`, read: async () => bytes };
}

/** A third with picture and question, a third with the picture alone, a third with text alone. */
async function examples(count: number, seed: string): Promise<Example[]> {
  const rng = createRng(seed);
  const pictures = { red: await square("red"), blue: await square("blue") };
  return Array.from({ length: count }, (_, i) => {
    const color: Color = rng.below(2) === 0 ? "red" : "blue";
    const asked = ["What color?", "", `It is ${color}. What color?`][i % 3]!;
    return {
      id: `e${i}`,
      turns: [
        { role: "user", content: asked },
        { role: "assistant", content: color },
      ],
      images: i % 3 === 2 ? [] : [pictures[color]],
      audios: [],
      options: ["red", "blue"],
    };
  });
}

const withoutOptions = ({ options: _, ...example }: Example): Example => example;
const text = (id: string, content: string): Example => ({
  id,
  turns: [
    { role: "user", content },
    { role: "assistant", content: "red" },
  ],
  images: [],
  audios: [],
});

const bytesOf = ({ tensors }: Adapter, name: string): Uint8Array => {
  const { buffer, byteOffset, byteLength } = tensors.get(name)!.data;
  return new Uint8Array(buffer, byteOffset, byteLength);
};

let trainer: Trainer;
let adapter: Adapter;
beforeAll(async () => {
  trainer = await openOnnxTrainer({ model: MODEL, threads: 1 });
  adapter = await trainer.createAdapter(REQUEST, "1");
});
afterAll(() => trainer.close());

describe("a fresh adapter", () => {
  test("has A uniform in ±1/√in and B zero on every linear layer of the decoder but the head", () => {
    const names = [...adapter.tensors.keys()];
    // 2 layers, 7 linear layers each, 2 factors
    expect(names.length).toBe(28);
    expect(names[0]).toBe("base_model.model.model.text_model.layers.0.mlp.down_proj.lora_A.weight");
    for (const [name, { shape, data }] of adapter.tensors) {
      const values = [...(data as Float32Array)];
      if (name.endsWith("lora_B.weight")) {
        expect(values.every((value) => value === 0)).toBe(true);
        continue;
      }
      const bound = 1 / Math.sqrt(shape[1]!);
      const largest = Math.max(...values.map(Math.abs));
      // of 8 x 48 or more uniform values the largest lies within 10 % of the bound, but for chance 0.9^384
      expect(largest).toBeLessThanOrEqual(bound);
      expect(largest).toBeGreaterThan(0.9 * bound);
    }
  });

  test("names the base it was made for and finds its modules again by its targets", () => {
    expect(adapter.config.base).toBe(trainer.baseHash);
    expect(adapter.config.targets).toBe(
      "(model\\.text_model)\\.(.*\\.)?(down_proj|gate_proj|k_proj|o_proj|q_proj|up_proj|v_proj)",
    );
  });

  test("is the same for the same seed and another for another", async () => {
    expect(await trainer.createAdapter(REQUEST, "1")).toEqual(adapter);
    expect(await trainer.createAdapter(REQUEST, "2")).not.toEqual(adapter);
  });

  test("takes a rank pattern", async () => {
    const { tensors } = await trainer.createAdapter(
      { ...REQUEST, rankPattern: { "layers.1.mlp.up_proj": 2 } },
      "1",
    );
    const shapeOf = (layer: number) =>
      tensors.get(`base_model.model.model.text_model.layers.${layer}.mlp.up_proj.lora_A.weight`)!.shape;
    expect([shapeOf(0), shapeOf(1)]).toEqual([
      [8, 48],
      [2, 48],
    ]);
  });

  test.each([
    ["connector", ["model.connector.modality_projection.proj"]],
    [
      "vision",
      [
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.q_proj",
        "self_attn.out_proj",
        "mlp.fc1",
        "mlp.fc2",
      ].flatMap((name) => [0, 1].map((layer) => `model.vision_model.encoder.layers.${layer}.${name}`)),
    ],
  ] as const)("of the %s has that part's layers", async (train, wanted) => {
    const { tensors } = await trainer.createAdapter({ ...REQUEST, train }, "1");
    const names = [...tensors.keys()].filter((name) => name.endsWith(".lora_A.weight"));
    expect(names).toEqual(wanted.map((path) => `base_model.model.${path}.lora_A.weight`).toSorted());
  });

  test("targets that name nothing are refused with the layers there are", async () => {
    await expect(trainer.createAdapter({ ...REQUEST, targets: ["query"] }, "1")).rejects.toMatchObject({
      code: "F2113",
      message:
        'Cannot make an adapter: targets ["query"] name no module of the decoder; its linear layers are down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj',
    });
  });

  test("targets that are nearly right are refused with those that were meant", async () => {
    await expect(trainer.createAdapter({ ...REQUEST, targets: ["gate_porj", "down"] }, "1")).rejects.toThrow(
      'did you mean "gate_proj"?',
    );
  });
});

describe("training on pictures, texts and both", () => {
  test("learns what the pictures and texts show", async () => {
    const held = await examples(30, "held-out");
    const { adapter: trained, ...result } = await trainer.train(
      { adapter, seed: "train", options: { ...OPTIONS, num_train_epochs: 8 } },
      await examples(48, "train"),
      {},
    );
    expect(result.examples).toBe(48);
    expect(result.touched).toEqual({ text: 32, image: 32, audio: 0 });
    // "red" and "blue" are two tokens and three, with the end token: 5 in the mean of both
    expect(result.metrics.lossLast).toBeLessThan(0.1 * result.metrics.lossFirst);
    const right = async (by: Adapter): Promise<number> => {
      const predictions = await trainer.predict({ adapter: by, maxNewTokens: 4, batchSize: 8 }, held, {});
      return predictions.filter(({ text: said }, i) => said === held[i]!.turns[1]!.content).length;
    };
    // Of 30 guesses between two, 27 or more are right once in 200,000.
    expect(await right(trained)).toBeGreaterThanOrEqual(27);
    const said = await trainer.predict(
      { adapter: trained, maxNewTokens: 8, batchSize: 4, loss: true },
      held.slice(0, 6).map(withoutOptions),
      {},
    );
    expect(said.map((prediction) => prediction.text)).toEqual(
      held.slice(0, 6).map(({ turns }) => turns[1]!.content),
    );
    for (const { loss } of said) expect(loss).toBeLessThan(1);
  });

  test("gives the same bits again, in a trainer of its own", async () => {
    const task = {
      adapter,
      seed: "s",
      options: { ...OPTIONS, max_steps: 5, gradient_accumulation_steps: 2 },
    };
    const train = await examples(20, "train");
    const first = await trainer.train(task, train, {});
    const other = await openOnnxTrainer({ model: MODEL, threads: 1 });
    try {
      expect(await other.train(task, train, {})).toEqual(first);
    } finally {
      await other.close();
    }
  });

  test("moves the encoder's factors only where examples have pictures, not even by decay", async () => {
    const whole = await trainer.createAdapter({ ...REQUEST, rank: 2, train: "all" }, "1");
    const options = { ...OPTIONS, max_steps: 2, weight_decay: 0.1 };
    const [pictured, textual] = [
      (await examples(9, "x")).filter(({ images }) => images.length > 0),
      [text("a", "what ?")],
    ];
    const movedBy = async (shard: readonly Example[]) => {
      const { adapter: trained } = await trainer.train({ adapter: whole, seed: "s", options }, shard, {});
      const names = [...whole.tensors.keys()].filter(
        (name) => Buffer.compare(bytesOf(whole, name), bytesOf(trained, name)) !== 0,
      );
      return new Set(names.map((name) => name.split(".")[3]));
    };
    expect(await movedBy(textual)).toEqual(new Set(["text_model"]));
    expect(await movedBy(pictured)).toEqual(new Set(["text_model", "vision_model", "connector"]));
  });

  test("counts progress in steps and says the loss of each", async () => {
    const seen: { step: number; loss: number }[] = [];
    await trainer.train(
      { adapter, seed: "s", options: { ...OPTIONS, max_steps: 3 } },
      await examples(8, "p"),
      {
        onProgress: ({ step, steps, loss }) => {
          if (step === 0) return;
          expect(steps).toBe(3);
          seen.push({ step, loss });
        },
      },
    );
    expect(seen.map(({ step }) => step)).toEqual([1, 2, 3]);
    expect(seen[2]!.loss).toBeLessThan(seen[0]!.loss);
  });
});

describe("predictions", () => {
  test("an option's score is the mean of its tokens' log-likelihoods, or their sum", async () => {
    const [example] = await examples(1, "x");
    const task = { adapter, maxNewTokens: 4, batchSize: 1, loss: true };
    const [mean] = await trainer.predict(task, [example!], {});
    const [sum] = await trainer.predict({ ...task, optionScore: "sum" }, [example!], {});
    const truth = example!.options!.indexOf(example!.turns[1]!.content);
    // the true answer's loss is the mean over its tokens, so minus its mean score; float32 logits of about 5
    expect(mean!.optionScores![truth]).toBeCloseTo(-mean!.loss!, 5);
    expect(sum!.optionScores![truth]).toBeCloseTo(-mean!.loss! * mean!.tokens!, 4);
  });

  test("by the next token score the first token in which the options differ", async () => {
    const [example] = await examples(1, "x");
    const task = { adapter, maxNewTokens: 1, batchSize: 2 };
    const options = ["zebra", "zone", "zu"]; // all begin with the token "z", then "e", "on" and "u"
    const scored = async (by: "sum" | "next", of: string[]) =>
      (await trainer.predict({ ...task, optionScore: by }, [{ ...example!, options: of }], {}))[0]!
        .optionScores!;
    const next = await scored("next", options);
    // probabilities of three different tokens after the same text
    expect(next.reduce((sum, score) => sum + Math.exp(score), 0)).toBeLessThan(1);
    // the sum has that token's log-likelihood among others, all below 0
    const sum = await scored("sum", options);
    next.forEach((score, i) => {
      expect(score).toBeGreaterThan(sum[i]!);
    });
  });

  test("by the next token fall back to the mean where options are not told apart by it", async () => {
    const [example] = await examples(1, "x");
    const task = { adapter, maxNewTokens: 1, batchSize: 2 };
    const same = { ...example!, options: ["red", "red blue", "blue"] }; // two begin with "red"
    const [next] = await trainer.predict({ ...task, optionScore: "next" }, [same], {});
    const [mean] = await trainer.predict({ ...task, optionScore: "mean" }, [same], {});
    expect(next).toEqual(mean);
  });

  test("do not depend on what else is in the batch", async () => {
    const held = (await examples(6, "x")).map(withoutOptions);
    const by = (batchSize: number) =>
      trainer.predict({ adapter, maxNewTokens: 3, batchSize, loss: true }, held, {});
    const [one, six] = [await by(1), await by(6)];
    expect(six.map(({ text: said }) => said)).toEqual(one.map(({ text: said }) => said));
    six.forEach(({ loss }, i) => {
      expect(loss).toBeCloseTo(one[i]!.loss!, 4); // float32 sums of other shapes
    });
  });

  test("without an adapter are those of an adapter whose B is zero", async () => {
    const held = await examples(3, "x");
    const task = { maxNewTokens: 4, batchSize: 3, loss: true };
    const base = await trainer.predict({ ...task, adapter: undefined }, held, {});
    const zero = await trainer.predict({ ...task, adapter }, held, {});
    base.forEach(({ loss, text: said }, i) => {
      expect(said).toBe(zero[i]!.text);
      expect(loss).toBeCloseTo(zero[i]!.loss!, 4); // float32: other kernels with LoRA beside
    });
  });

  test("stop when asked to", async () => {
    await expect(
      trainer.predict({ adapter, maxNewTokens: 4, batchSize: 1 }, await examples(2, "x"), {
        signal: AbortSignal.abort(),
      }),
    ).rejects.toMatchObject({ code: "F2136", message: "Prediction was stopped before its end" });
  });
});

describe("what cannot be trained on is refused by name", () => {
  const train = (shard: readonly Example[], options: Partial<TrainingOptions> = {}, by: Adapter = adapter) =>
    trainer.train({ adapter: by, seed: "s", options: { ...OPTIONS, ...options } }, shard, {});

  test("no examples", async () => {
    await expect(train([])).rejects.toMatchObject({ code: "F2135" });
  });

  test("an example longer than the task allows", async () => {
    await expect(
      train([text("long", "one two three four five six")], { max_length: 20 }),
    ).rejects.toMatchObject({
      code: "F2132",
      message: expect.stringMatching(
        /^Cannot use example "long": at most 20 tokens are allowed \(max_length\), got \d+$/,
      ),
      details: { example: "long", limit: 20 },
    });
  });

  test("an example longer than the model's positions", async () => {
    await expect(train([text("longer", "word ".repeat(100))], { max_length: 1000 })).rejects.toMatchObject({
      code: "F2132",
      message: expect.stringContaining(
        "at most 128 tokens are allowed (the model's max_position_embeddings)",
      ),
    });
  });

  test("an image that is none", async () => {
    const fake: Media = { name: "shard/cat.png", read: async () => Buffer.from("meow") };
    await expect(train([{ ...text("cat", "what ?"), images: [fake] }])).rejects.toMatchObject({
      code: "F2131",
      message: expect.stringContaining('Cannot read image "shard/cat.png"'),
    });
  });

  test("an image that is not there", async () => {
    const gone: Media = { name: "gone.png", read: () => Promise.reject(new Error("ENOENT")) };
    await expect(train([{ ...text("gone", "what ?"), images: [gone] }])).rejects.toMatchObject({
      code: "F2131",
      message: 'Cannot read image "gone.png": ENOENT',
    });
  });

  test("sound, which this model does not take", async () => {
    const sound: Media = { name: "a.wav", read: async () => new Uint8Array() };
    await expect(train([{ ...text("a", "what ?"), audios: [sound] }])).rejects.toMatchObject({
      code: "F2139",
    });
  });

  test("an adapter of another base", async () => {
    const foreign: Adapter = { ...adapter, config: { ...adapter.config, base: "f".repeat(64) } };
    await expect(train([text("a", "what ?")], {}, foreign)).rejects.toMatchObject({
      code: "F2138",
      message: `Cannot use the adapter: it was made for base model ffffffffffff, this one is ${trainer.baseHash.slice(0, 12)}`,
    });
  });

  test("after an abort the next task runs as if nothing had been", async () => {
    const abort = new AbortController();
    const shard = await examples(8, "x");
    const task = { adapter, seed: "s", options: { ...OPTIONS, max_steps: 4 } };
    const wanted = await trainer.train(task, shard, {});
    const stopped = trainer.train(task, shard, {
      signal: abort.signal,
      onProgress: ({ step }) => step === 2 && abort.abort(),
    });
    await expect(stopped).rejects.toMatchObject({ code: "F2136" });
    expect(await trainer.train(task, shard, {})).toEqual(wanted);
  });
});
