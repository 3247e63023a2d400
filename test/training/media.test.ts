import { afterEach, beforeEach, expect, test } from "vitest";
import { float32, type TensorSet } from "../../adapters/tensor.ts";
import type { Media } from "../../data/example.ts";
import { createFeatureCache, type FeatureCache } from "../../training/feature-cache.ts";
import { MediaFiles } from "../../training/media.ts";
import type { ImageProcessor } from "../../training/models/image-processor.ts";
import type { Engine } from "../../training/onnx/engine.ts";

/** Two frames of one pixel, whose values are the file's first byte and one more. */
function processor(counts: { decoded: number }): ImageProcessor {
  return {
    family: "plain",
    async process(bytes) {
      counts.decoded++;
      const frame = (value: number) => ({
        width: 1,
        height: 1,
        pixels: Float32Array.of(value, value, value),
      });
      return { frames: [frame(bytes[0]!), frame(bytes[0]! + 1)], rows: 1, columns: 1 };
    },
  };
}

/** Features are twice the pixels; its backward gives the sum of the gradient as the gradient of "w". */
function encoder(counts: { encoded: number }): Engine {
  const first = (inputs: TensorSet): number => (inputs.get("pixel_values")!.data as Float32Array)[0]!;
  return {
    inputs: [{ name: "pixel_values", type: "F32", shape: [1, 3, 1, 1] }],
    modules: [],
    named: [],
    parameters: [],
    absent: [],
    initialValues: () => new Map(),
    step: () => Promise.reject(new TypeError("An encoder has no loss")),
    stepTogether: () => Promise.reject(new TypeError("An encoder has no loss")),
    estimate: () => Promise.reject(new TypeError("An encoder has no loss")),
    front: () => Promise.reject(new TypeError("Nothing is trained behind this encoder")),
    async forward({ inputs }) {
      counts.encoded++;
      return float32([1, 1, 2], [2 * first(inputs), 2 * first(inputs)]);
    },
    async backward(_batch, _parameters, { shape, data }) {
      expect(shape).toEqual([1, 1, 2]);
      const sum = (data as Float32Array).reduce((total, value) => total + value, 0);
      return { gradients: new Map([["w", float32([1], [sum])]]), inputGradients: new Map() };
    },
    close: async () => {},
  };
}

const media = (name: string, byte: number): Media => ({ name, read: async () => Uint8Array.of(byte) });

let cache: FeatureCache;
let counts: { decoded: number; encoded: number };
beforeEach(() => {
  cache = createFeatureCache();
  counts = { decoded: 0, encoded: 0 };
});
afterEach(() => cache.close());

test("a picture is decoded and encoded once, under whatever names it comes", async () => {
  const images = new MediaFiles(processor(counts), cache);
  const frozen = images.frozen(encoder(counts));
  const [a, b] = [await images.open(media("a.png", 5)), await images.open(media("b.png", 5))];
  expect(b).toBe(a);
  expect(await frozen.features(a, new Map())).toEqual([Float32Array.of(10, 10), Float32Array.of(12, 12)]);
  await frozen.features(b, new Map());
  expect(counts).toEqual({ decoded: 1, encoded: 2 }); // two frames
});

test("a picture that left memory is decoded again", async () => {
  const images = new MediaFiles(processor(counts), cache, { frameBytes: 1 });
  const frozen = images.frozen(encoder(counts));
  const [a] = [await images.open(media("a.png", 5)), await images.open(media("b.png", 7))];
  expect(await frozen.features(a, new Map())).toEqual([Float32Array.of(10, 10), Float32Array.of(12, 12)]);
  expect(counts.decoded).toBe(3);
});

test("a trained encoder runs at every step and takes the gradients of all frames", async () => {
  const images = new MediaFiles(processor(counts), cache);
  const trained = images.trained(encoder(counts));
  const ref = await images.open(media("a.png", 5));
  await trained.features(ref, new Map());
  await trained.features(ref, new Map());
  expect(counts.encoded).toBe(4);
  const gradients = await trained.backward!(ref, new Map(), [Float32Array.of(1, 2), Float32Array.of(3, 4)]);
  expect([...gradients.get("w")!.data]).toEqual([10]);
});
