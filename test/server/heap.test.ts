import { expect, test } from "vitest";
import { keepHeapSmall } from "../../server/heap.ts";

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
