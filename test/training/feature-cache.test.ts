import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { afterEach, expect, test } from "vitest";
import { createFeatureCache, type FeatureCache } from "../../training/feature-cache.ts";

let cache: FeatureCache;
afterEach(() => cache.close());

const features = (value: number) => new Float32Array(8).fill(value); // 32 bytes

test("what does not fit in memory comes back from disk", async () => {
  cache = createFeatureCache(64);
  for (let i = 0; i < 5; i++) await cache.put(`k${i}`, features(i));
  for (const i of [0, 4, 2, 0, 1, 3]) expect(await cache.get(`k${i}`)).toEqual(features(i));
  expect(await cache.get("k9")).toBeUndefined();
});

test("a value larger than the bound is held all the same", async () => {
  cache = createFeatureCache(1);
  await cache.put("large", features(1));
  expect(await cache.get("large")).toEqual(features(1));
});

test("what finds no room in the folder is forgotten, and what is there stays", async () => {
  cache = createFeatureCache(32, 64);
  for (let i = 0; i < 5; i++) await cache.put(`k${i}`, features(i));
  const there: (Float32Array | undefined)[] = [];
  for (const i of [4, 3, 2, 1, 0]) there.push(await cache.get(`k${i}`));
  // One of 32 bytes in memory, two in the folder.
  expect(there).toEqual([features(4), undefined, undefined, features(1), features(0)]);
});

test("closing leaves nothing behind", async () => {
  const folders = async () =>
    new Set((await readdir(tmpdir())).filter((name) => name.startsWith("fedloom-features-")));
  const before = await folders();
  cache = createFeatureCache(32);
  for (let i = 0; i < 3; i++) await cache.put(`k${i}`, features(i));
  expect([...(await folders())].filter((name) => !before.has(name)).length).toBeGreaterThanOrEqual(1);
  await cache.close();
  expect(await cache.get("k0")).toBeUndefined();
});
