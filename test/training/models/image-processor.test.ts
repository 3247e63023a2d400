import { readFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { readSafetensors } from "../../../adapters/safetensors.ts";
import { type Frame, imageProcessor, openImageProcessor } from "../../../training/models/image-processor.ts";

const MODELS = join(import.meta.dirname, "../../golden/models");

function referencePixels(model: string): { shape: readonly number[]; data: Float32Array } {
  const path = join(MODELS, model, "reference/inputs.safetensors");
  const tensor = readSafetensors(readFileSync(path), path).get("pixel_values")!;
  return { shape: tensor.shape, data: tensor.data as Float32Array };
}

const image = (model: string, i: number): Uint8Array =>
  readFileSync(join(MODELS, model, `reference/images/${i}.png`));

/** A picture whose red is the column and whose green is the row. */
function ramp(width: number, height: number): Promise<Uint8Array> {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const pixel = Math.floor(i / 3);
    return [pixel % width, Math.floor(pixel / width), 0][i % 3]!;
  });
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

describe("pixel values equal the reference to the last bit", () => {
  // slot: where the picture lies among the reference's frames, padding pictures included
  test.each([
    { model: "smolvlm-tiny", slots: [0, 2] },
    { model: "llava-tiny", slots: [0, 1] },
    { model: "vit-tiny-classifier", slots: [0, 1, 2] },
  ])("$model", async ({ model, slots }) => {
    const processor = (await openImageProcessor(join(MODELS, model)))!;
    const { data } = referencePixels(model);
    for (const [i, slot] of slots.entries()) {
      const { frames, rows, columns } = await processor.process(image(model, i), `${i}.png`);
      expect([frames.length, rows, columns]).toEqual([1, 0, 0]);
      const { pixels } = frames[0]!;
      expect(pixels).toEqual(data.subarray(slot * pixels.length, (slot + 1) * pixels.length));
    }
  });

  test("a picture that is not square keeps its shape where nothing squares it (Idefics2)", async () => {
    const processor = imageProcessor(
      { image_processor_type: "Idefics2ImageProcessor", size: { shortest_edge: 24, longest_edge: 32 } },
      "preprocessor_config.json",
    );
    const [frame] = (await processor.process(image("smolvlm-tiny", 2), "2.png")).frames;
    expect([frame!.width, frame!.height]).toEqual([32, 24]);
    // The reference holds it padded to 32 x 32 with zeros below, as slot 3.
    const { data } = referencePixels("smolvlm-tiny");
    const padded = data.subarray(3 * 3 * 32 * 32, 4 * 3 * 32 * 32);
    for (let c = 0; c < 3; c++) {
      expect(frame!.pixels.subarray(c * 24 * 32, (c + 1) * 24 * 32)).toEqual(
        padded.subarray(c * 32 * 32, c * 32 * 32 + 24 * 32),
      );
    }
  });
});

describe("splitting into tiles", () => {
  const processor = (split: boolean) =>
    imageProcessor(
      {
        image_processor_type: "Idefics3ImageProcessor",
        size: { longest_edge: 64 },
        max_image_size: { longest_edge: 32 },
        resample: 0,
        do_image_splitting: split,
        do_rescale: false,
        do_normalize: false,
      },
      "preprocessor_config.json",
    );
  const corner = ({ pixels, width, height }: Frame) => [pixels[0], pixels[width * height]];

  test("a picture of 64 x 32 gives one row of two tiles and the whole", async () => {
    const { frames, rows, columns } = await processor(true).process(await ramp(64, 32), "ramp.png");
    expect([rows, columns, frames.length]).toEqual([1, 2, 3]);
    expect(frames.map(({ width, height }) => [width, height])).toEqual([
      [32, 32],
      [32, 32],
      [32, 32],
    ]);
    // red and green of the first pixel are the tile's column and row; the whole is every second column from 1 on
    expect(frames.map(corner)).toEqual([
      [0, 0],
      [32, 0],
      [1, 0],
    ]);
  });

  test("the shorter edge is stretched to whole tiles", async () => {
    // 128 x 80 scaled to 64 x 40, stretched to 64 x 64
    const { rows, columns } = await processor(true).process(await ramp(128, 80), "ramp.png");
    expect([rows, columns]).toEqual([2, 2]);
  });

  test("without splitting there is one square frame", async () => {
    const { frames, rows, columns } = await processor(false).process(await ramp(128, 80), "ramp.png");
    expect([rows, columns]).toEqual([0, 0]);
    expect(frames.map(({ width, height }) => [width, height])).toEqual([[32, 32]]);
  });
});

test("CLIP scales the shortest edge and crops the center", async () => {
  const processor = imageProcessor(
    {
      image_processor_type: "CLIPImageProcessor",
      size: { shortest_edge: 24 },
      crop_size: { height: 24, width: 24 },
      resample: 0,
      do_rescale: false,
      do_normalize: false,
    },
    "preprocessor_config.json",
  );
  const [frame] = (await processor.process(await ramp(48, 24), "ramp.png")).frames;
  expect([frame!.width, frame!.height]).toEqual([24, 24]);
  // (48 - 24) / 2 columns are cut on the left
  expect(frame!.pixels.slice(0, 3)).toEqual(Float32Array.of(12, 13, 14));
});

test("a transparent picture lies on white for SmolVLM and loses its alpha for CLIP", async () => {
  const clear = await sharp({
    create: { width: 4, height: 4, channels: 4, background: { r: 0, g: 0, b: 0, alpha: 0 } },
  })
    .png()
    .toBuffer();
  const sample = async (type: string): Promise<number> => {
    const plain = {
      image_processor_type: type,
      do_resize: false,
      do_center_crop: false,
      do_normalize: false,
    };
    const processor = imageProcessor(
      { ...plain, do_image_splitting: false, max_image_size: { longest_edge: 4 } },
      "p",
    );
    return (await processor.process(clear, "clear.png")).frames[0]!.pixels[0]!;
  };
  expect(await sample("SmolVLMImageProcessor")).toBe(1);
  expect(await sample("CLIPImageProcessor")).toBe(0);
});

test("bytes that are no picture are refused by name", async () => {
  const processor = (await openImageProcessor(join(MODELS, "smolvlm-tiny")))!;
  await expect(processor.process(Buffer.from("not a picture"), "cat.png")).rejects.toMatchObject({
    code: "F2131",
    message: expect.stringMatching(
      /^Cannot read image "cat.png": a picture is wanted, got 13 bytes that do not decode/,
    ),
  });
});

test("a truncated picture is refused, not filled up", async () => {
  const processor = (await openImageProcessor(join(MODELS, "smolvlm-tiny")))!;
  const whole = image("smolvlm-tiny", 0);
  await expect(processor.process(whole.subarray(0, whole.length / 2), "half.png")).rejects.toMatchObject({
    code: "F2131",
  });
});

test("an unknown processor is refused with the known ones", () => {
  expect(() =>
    imageProcessor({ image_processor_type: "Qwen2VLImageProcessor" }, "preprocessor_config.json"),
  ).toThrow(
    /^Cannot prepare images as "preprocessor_config.json" asks: image_processor_type must be one of CLIP, .*, got "Qwen2VLImageProcessor"$/,
  );
});

test("a model without preprocessor_config.json takes no images", async () => {
  expect(await openImageProcessor(join(MODELS, "smollm-tiny"))).toBeUndefined();
});
