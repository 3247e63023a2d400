/** FedBuff's rule: what a stale update adds. Which updates lie in a buffer is the run's business (test/server/). */
import { expect, test } from "vitest";
import { adapter, aggregateOnce, plain, update } from "./small.ts";

test("adds what a stale client changed from its own start, damped, and not its endpoint", () => {
  const global = adapter({ a: [[10, 10]], b: [10] });
  const stale = update("c1", 1, { a: [[3, 3]], b: [3] }, { staleness: 3, base: { a: [[1, 1]], b: [1] } });
  const out = aggregateOnce({ name: "fedbuff" }, global, [stale]).global.tensors;
  // 10 + (3 − 1) / √(1 + 3) = 11
  expect(plain(out)).toEqual({ a: [11, 11], b: [11] });
});
