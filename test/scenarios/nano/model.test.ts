import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { float32, type Tensor, type TensorSet, tensor, tensorSet } from "../../../adapters/tensor.ts";
import { createRng } from "../../../base/rng.ts";
import { drawScene, PICTURE_SIDE, paint } from "../../../data/scenes/scene.ts";
import { encodeLesson, languageBatch, pixelValues } from "../../../scenarios/nano/batch.ts";
import { readCheckpoint, saveCheckpoint } from "../../../scenarios/nano/checkpoint-file.ts";
import { openWritten, type PretrainProgress } from "../../../scenarios/nano/course.ts";
import { LESSONS } from "../../../scenarios/nano/curriculum.ts";
import {
  decoderGraph,
  embedTokensGraph,
  languageGraph,
  visionEncoderGraph,
  visionTowerGraph,
} from "../../../scenarios/nano/graphs.ts";
import { nanoTokenizer } from "../../../scenarios/nano/nano-codec.ts";
import { pretrain } from "../../../scenarios/nano/pretrain.ts";
import { publish } from "../../../scenarios/nano/publish.ts";
import { initialWeights } from "../../../scenarios/nano/weights.ts";
import { openOnnxTrainer } from "../../../training/onnx-trainer.ts";

const tokenizer = nanoTokenizer();

/** Sessions of several shapes are opened; on a busy machine that takes a while. */
const SLOW_MS = 240_000;

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), "fedloom-nano-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return directory;
}

async function forward(folder: string, name: string, graph: Uint8Array, inputs: TensorSet): Promise<Tensor> {
  const engine = await openWritten(folder, name, graph, { objective: "none", threads: 1 });
  try {
    return await engine.forward({ inputs }, new Map());
  } finally {
    await engine.close();
  }
}

test(
  "the three published graphs together compute what pretraining differentiates",
  async () => {
    const folder = temporary();
    const weights = initialWeights(tokenizer.vocabulary, createRng("weights"));
    const lesson = encodeLesson(LESSONS.matchPack(createRng("lesson")), tokenizer);
    const { inputs } = languageBatch([lesson]);
    const pixels = tensorSet([["pixel_values", pixelValues([lesson.picture], createRng("pixels"))]]);

    const features = await forward(folder, "tower", visionTowerGraph(weights), pixels);
    const joint = await forward(
      folder,
      "language",
      languageGraph(weights),
      tensorSet([...inputs, ["features", features]]),
    );

    const image = await forward(folder, "vision", visionEncoderGraph(weights), pixels);
    const ids = tensorSet([["input_ids", inputs.get("input_ids")!]]);
    const words = await forward(folder, "embed", embedTokensGraph(weights), ids);
    const embeds = Float32Array.from(words.data as Float32Array);
    const width = image.shape[2]!;
    [...inputs.get("image_rows")!.data].forEach((row, i) => {
      embeds.set((image.data as Float32Array).subarray(i * width, (i + 1) * width), Number(row) * width);
    });
    const decoded = await forward(
      folder,
      "decoder",
      decoderGraph(weights),
      tensorSet([
        ["inputs_embeds", float32(words.shape, embeds)],
        ["attention_mask", inputs.get("attention_mask")!],
        ["position_ids", inputs.get("position_ids")!],
      ]),
    );
    const positions = lesson.ids.length * tokenizer.vocabulary;
    let largest = 0;
    for (let i = 0; i < positions; i++) {
      largest = Math.max(largest, Math.abs(Number(joint.data[i]) - Number(decoded.data[i])));
    }
    // Logits of order 1 through four layers of float32, the same arithmetic in other orders.
    expect(largest).toBeLessThan(1e-4);
  },
  SLOW_MS,
);

test(
  "pretraining that was cut off in either stage goes on from its checkpoint, to the same weights",
  async () => {
    const options = {
      seed: "test",
      alignmentSteps: 3,
      lessonSteps: 3,
      practiceSteps: 2,
      codec: tokenizer,
      vocabulary: tokenizer.vocabulary,
      folder: temporary(),
      threads: 1,
    };
    const whole = await pretrain(options, { onStep: () => {}, save: () => {}, saveEvery: 2 });

    class Cut extends Error {}
    for (const stage of ["alignment", "lessons"] as const) {
      const cutAfter2 = pretrain(options, {
        saveEvery: 2,
        onStep: () => {},
        save(checkpoint) {
          if (checkpoint.stage !== stage) return;
          saveCheckpoint(options.folder, checkpoint);
          throw new Cut();
        },
      });
      await expect(cutAfter2).rejects.toThrow(Cut);
      const saved = readCheckpoint(options.folder)!;
      expect([saved.stage, saved.step]).toEqual([stage, 2]);

      const steps: string[] = [];
      const onStep = (at: PretrainProgress): number => steps.push(`${at.stage} ${at.step}`);
      const resumed = await pretrain(options, { saveEvery: 2, onStep, save: () => {} }, saved);
      expect(steps[0]).toBe(`${stage} 3`);
      expect(steps.at(-1)).toBe("practice 2");
      for (const [name, { data }] of whole) expect(resumed.get(name)!.data, name).toEqual(data);
    }
  },
  SLOW_MS,
);

test(
  "the published directory trains like any model of the hub: its loss falls on a picture question",
  async () => {
    const folder = temporary();
    const weights = initialWeights(tokenizer.vocabulary, createRng("weights"));
    publish(folder, weights, tokenizer, "# test\n");
    const trainer = await openOnnxTrainer({ model: folder, device: "cpu", threads: 1 });
    onTestFinished(() => trainer.close());
    const rng = createRng("picture");
    const sharp = (await import("sharp")).default;
    const raw = { width: PICTURE_SIDE, height: PICTURE_SIDE, channels: 3 } as const;
    const png = await sharp(paint(drawScene(rng), rng), { raw })
      .png()
      .toBuffer();
    const example = {
      id: "1",
      turns: [
        { role: "user", content: "<image>\nwhat color is the star?" },
        { role: "assistant", content: "red" },
      ],
      images: [{ name: "scene.png", read: async () => new Uint8Array(png) }],
      audios: [],
    } as const;
    const config = {
      rank: 4,
      alpha: 8,
      rslora: false,
      dropout: 0,
      targets: "all-linear",
      rankPattern: {},
      alphaPattern: {},
      modulesToSave: [],
    };
    const adapter = await trainer.createAdapter(config, "seed");
    // Seven linear layers in each of four blocks, two factors each; the tied head is no target.
    expect(adapter.tensors.size).toBe(4 * 7 * 2);
    const { trainingOptions } = await import("../../../config/training.ts");
    const options = trainingOptions.parse({
      learning_rate: 1e-2,
      max_steps: 8,
      per_device_train_batch_size: 1,
    });
    const result = await trainer.train({ adapter, options, seed: "s" }, [example], {});
    expect(result.metrics.lossLast).toBeLessThan(result.metrics.lossFirst / 2);
    expect(result.touched).toEqual({ text: 1, image: 1, audio: 0 });
  },
  SLOW_MS,
);

test("the checkpoint file keeps weights, optimizer state and place", () => {
  const folder = temporary();
  const set = tensorSet([["a.weight", tensor("F32", [2], Float32Array.of(1, 2))]]);
  const state = tensorSet([["a.weight#step", tensor("F32", [], Float32Array.of(7))]]);
  expect(readCheckpoint(folder)).toBeUndefined();
  saveCheckpoint(folder, { stage: "lessons", step: 400, weights: set, optimizer: state });
  expect(readCheckpoint(folder)).toEqual({ stage: "lessons", step: 400, weights: set, optimizer: state });
});
