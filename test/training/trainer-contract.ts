/**
 * What every trainer does, whatever it computes with: the same task gives the same adapter, what cannot be trained on
 * is refused, and predictions are of the examples asked for.
 */
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Adapter } from "../../adapters/adapter.ts";
import { createRng } from "../../base/rng.ts";
import { trainingOptions } from "../../config/training.ts";
import type { Example } from "../../data/example.ts";
import type { AdapterRequest, Trainer, TrainTask } from "../../training/trainer.ts";

export const CONTRACT_MODEL = join(import.meta.dirname, "../golden/models/smolvlm-tiny");

export const REQUEST: AdapterRequest = {
  rank: 4,
  alpha: 8,
  rslora: false,
  dropout: 0,
  targets: ["q_proj", "v_proj", "down_proj"],
  rankPattern: {},
  alphaPattern: {},
  modulesToSave: [],
};

const OPTIONS = { learning_rate: 5e-3, per_device_train_batch_size: 4, max_steps: 3 };

/** A third with picture and question, a third with the picture alone, a third with text alone. */
export async function contractExamples(count: number): Promise<Example[]> {
  const rng = createRng("contract");
  const pictureOf = async (background: string): Promise<Uint8Array> =>
    sharp({ create: { width: 40, height: 40, channels: 3, background } })
      .png()
      .toBuffer();
  const pictures = { red: await pictureOf("#dc1e1e"), blue: await pictureOf("#283cdc") };
  return Array.from({ length: count }, (_, i) => {
    const color = rng.below(2) === 0 ? "red" : "blue";
    const image = { name: `${color}.png`, read: async () => pictures[color] };
    return {
      id: `e${i}`,
      turns: [
        { role: "user", content: ["What color?", "", `It is ${color}. What color?`][i % 3]! },
        { role: "assistant", content: color },
      ],
      images: i % 3 === 2 ? [] : [image],
      audios: [],
      options: ["red", "blue"],
    };
  });
}

/** @param open a trainer of CONTRACT_MODEL */
export function trainerContract(name: string, open: () => Promise<Trainer>): void {
  describe(`the trainer contract: ${name}`, () => {
    let trainer: Trainer;
    let adapter: Adapter;
    let examples: readonly Example[];
    const task = (more: Partial<TrainTask> = {}, options = {}): TrainTask => ({
      adapter,
      seed: "s",
      options: trainingOptions.parse({ ...OPTIONS, ...options }),
      ...more,
    });
    beforeAll(async () => {
      trainer = await open();
      adapter = await trainer.createAdapter(REQUEST, "1");
      examples = await contractExamples(12);
    });
    afterAll(() => trainer.close());

    test("says what it is and which base model it has", () => {
      expect(trainer.name).toBe(name);
      expect(trainer.baseHash).toMatch(/^[0-9a-f]{64}$/);
      expect(adapter.config.base).toBe(trainer.baseHash);
    });

    test("a fresh adapter follows from its seed", async () => {
      expect(await trainer.createAdapter(REQUEST, "1")).toEqual(adapter);
      expect((await trainer.createAdapter(REQUEST, "2")).tensors).not.toEqual(adapter.tensors);
    });

    test("training lowers the loss, counts what it saw, and leaves the adapter that it was handed alone", async () => {
      const before = structuredClone(adapter);
      const steps: number[] = [];
      const result = await trainer.train(task(), examples, {
        onProgress: ({ step }) => step > 0 && steps.push(step),
      });
      expect(adapter).toEqual(before);
      expect(steps).toEqual([1, 2, 3]);
      expect(result).toMatchObject({ examples: 12, steps: 3, touched: { text: 8, image: 8, audio: 0 } });
      expect(result.metrics.lossLast).toBeLessThan(result.metrics.lossFirst);
      const shapes = ({ tensors }: Adapter) => [...tensors].map(([tensor, { shape }]) => [tensor, shape]);
      expect(shapes(result.adapter)).toEqual(shapes(adapter));
      for (const [tensor, { data }] of result.adapter.tensors)
        expect(data, tensor).not.toEqual(adapter.tensors.get(tensor)!.data);
    });

    test("the same task gives the same bits", async () => {
      const first = await trainer.train(task(), examples, {});
      expect(await trainer.train(task(), examples, {})).toEqual(first);
    });

    test("frozen tensors keep the value that they were handed out with", async () => {
      const result = await trainer.train(task({ frozen: "lora_A" }), examples, {});
      for (const [tensor, { data }] of result.adapter.tensors)
        if (tensor.includes("lora_A")) expect(data, tensor).toEqual(adapter.tensors.get(tensor)!.data);
        else expect(data, tensor).not.toEqual(adapter.tensors.get(tensor)!.data);
    });

    test("predicts one answer an example, in their order, with a score an option and the loss", async () => {
      const asked = { adapter, maxNewTokens: 2, batchSize: 4, loss: true };
      const predictions = await trainer.predict(asked, examples.slice(0, 5), {});
      expect(predictions.map(({ id }) => id)).toEqual(["e0", "e1", "e2", "e3", "e4"]);
      for (const { text, optionScores, loss } of predictions) {
        expect(optionScores).toHaveLength(2);
        expect(text).toBe(["red", "blue"][optionScores![0]! >= optionScores![1]! ? 0 : 1]);
        expect(loss).toBeGreaterThan(0);
      }
    });

    test("without options it speaks, the same each time", async () => {
      const asked = { adapter: undefined, maxNewTokens: 3, batchSize: 2 };
      const open = examples.slice(0, 3).map(({ options: _, ...example }) => example);
      const said = await trainer.predict(asked, open, {});
      expect(await trainer.predict(asked, open, {})).toEqual(said);
      expect(said.map(({ text }) => typeof text)).toEqual(["string", "string", "string"]);
    });

    test("stops when asked to", async () => {
      const running = trainer.train(task({}, { max_steps: 50 }), examples, { signal: AbortSignal.abort() });
      await expect(running).rejects.toMatchObject({ code: "F2136" });
    });

    test("no examples, and an adapter of another base, are refused", async () => {
      await expect(trainer.train(task(), [], {})).rejects.toMatchObject({ code: "F2135" });
      const foreign: Adapter = { ...adapter, config: { ...adapter.config, base: "f".repeat(64) } };
      await expect(trainer.train(task({ adapter: foreign }), examples, {})).rejects.toMatchObject({
        code: "F2138",
      });
    });
  });
}
