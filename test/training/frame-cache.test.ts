import { expect, test } from "vitest";
import { FrameCache } from "../../training/frame-cache.ts";
import type { Frame } from "../../training/models/image-processor.ts";

/** 12 bytes of pixels. */
const image = (value: number): readonly Frame[] => [
  { width: 1, height: 1, pixels: Float32Array.of(value, value, value) },
];

test("the image used longest ago leaves first", () => {
  const cache = new FrameCache(24);
  cache.put("a", image(1));
  cache.put("b", image(2));
  cache.get("a");
  cache.put("c", image(3));
  expect(cache.get("b")).toBeUndefined();
  expect(cache.get("a")).toEqual(image(1));
  expect(cache.get("c")).toEqual(image(3));
});

test("an image larger than the bound is held until the next one comes", () => {
  const cache = new FrameCache(5);
  cache.put("a", image(1));
  expect(cache.get("a")).toEqual(image(1));
  cache.put("b", image(2));
  expect(cache.get("a")).toBeUndefined();
});

test("putting an image twice counts it once", () => {
  const cache = new FrameCache(24);
  cache.put("a", image(1));
  cache.put("a", image(1));
  cache.put("b", image(2));
  expect(cache.get("a")).toEqual(image(1));
});
