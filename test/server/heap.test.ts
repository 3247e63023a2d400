import { expect, test } from "vitest";
import { keepHeapSmall, letGarbageLie } from "../../server/heap.ts";

const MIB = 2 ** 20;

function used(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

test("garbage of many rounds does not pile up: less than 48 MiB lie, whatever came and went", () => {
  const betweenRounds = keepHeapSmall();
  betweenRounds();
  const before = used();
  let most = 0;
  let held: unknown[] = [];
  for (let round = 0; round < 60; round++) {
    // 8 MiB of objects that live for one round, as records and messages do: half a GiB in all.
    held = Array.from({ length: 8_000 }, (_, i) => new Array(128).fill(i + round));
    betweenRounds();
    most = Math.max(most, used() - before);
  }
  expect(held).toHaveLength(8_000);
  // 32 MiB, and what came since the last look.
  expect(most).toBeLessThan(48 * MIB);
});

test("what lies in a fleet's process has a limit within a round too: tensors of 2 GiB take less than 300 MiB", async () => {
  const betweenRounds = letGarbageLie();
  const before = used();
  let most = 0;
  for (let client = 0; client < 80; client++) {
    for (let i = 0; i < 24; i++) new Float32Array(2 ** 18).fill(client);
    most = Math.max(most, used() - before);
    await new Promise((resolve) => setImmediate(resolve));
  }
  betweenRounds();
  // 96 MiB, as much again while a collection is under way, and what came since the last look.
  expect(most).toBeLessThan(300 * MIB);
  expect(used() - before).toBeLessThan(160 * MIB);
});
