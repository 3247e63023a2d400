/** FedBuff with its buffer: arrival order is data, and decides everything. */
import { expect, test } from "vitest";
import { floats } from "../../adapters/cast.ts";
import type { TensorSet } from "../../adapters/tensor.ts";
import { type Arrival, arrive, EMPTY_BUFFER } from "../../aggregators/arrivals.ts";
import { createRng } from "../../base/rng.ts";
import { adapter, aggregateOnce, plain, update } from "./small.ts";

const SIZE = 2;

test("fills a buffer, closes the round, and tells how stale each update is", () => {
  const first = arrive(EMPTY_BUFFER, { client: "c1", base: 0 }, { size: SIZE });
  expect(first).toEqual({ buffer: { round: 0, waiting: [{ client: "c1", base: 0 }] } });
  const second = arrive(first.buffer, { client: "c2", base: 0 }, { size: SIZE });
  expect(second.closed).toEqual([
    { client: "c1", base: 0, staleness: 0 },
    { client: "c2", base: 0, staleness: 0 },
  ]);
  const third = arrive(second.buffer, { client: "c3", base: 0 }, { size: SIZE });
  const fourth = arrive(third.buffer, { client: "c1", base: 1 }, { size: SIZE });
  expect(fourth.closed!.map(({ staleness }) => staleness)).toEqual([1, 0]);
  expect(fourth.buffer).toEqual({ round: 2, waiting: [] });
});

test("a client that comes again before the round is full replaces its older update", () => {
  const once = arrive(EMPTY_BUFFER, { client: "c1", base: 0 }, { size: SIZE });
  const again = arrive(once.buffer, { client: "c1", base: 0 }, { size: SIZE });
  expect(again.buffer.waiting).toHaveLength(1);
  expect(again.dropped).toEqual({ arrival: { client: "c1", base: 0 }, reason: "replaced" });
});

test("drops what is too stale, and refuses what cannot be", () => {
  const buffer = { round: 5, waiting: [] };
  expect(arrive(buffer, { client: "c1", base: 2 }, { size: SIZE, maxStaleness: 2 }).dropped).toMatchObject({
    reason: "too stale",
  });
  expect(() => arrive(buffer, { client: "c1", base: 6 }, { size: SIZE })).toThrow(RangeError);
});

/** A run of six clients that start from the newest global and finish in the given order. */
function replay(order: readonly number[]): number[] {
  let global = adapter({ a: [[0, 0]], b: [0] });
  const versions: TensorSet[] = [global.tensors];
  let buffer = EMPTY_BUFFER;
  const bases = new Map<number, number>();
  for (const client of order) {
    const arrival: Arrival = { client: `c${client}`, base: bases.get(client) ?? 0 };
    const step = arrive(buffer, arrival, { size: SIZE });
    buffer = step.buffer;
    if (step.closed !== undefined) {
      const entries = step.closed.map((closed) => {
        const start = plain(versions[closed.base]!);
        const target = Number(closed.client.slice(1)) + 1;
        const moved = (values: readonly number[]) => values.map((value) => value + 0.5 * (target - value));
        return update(
          closed.client,
          1,
          { a: [moved(start.a!)], b: moved(start.b!) },
          {
            staleness: closed.staleness,
            base: { a: [start.a!], b: start.b! },
          },
        );
      });
      global = aggregateOnce({ name: "fedbuff" }, global, entries, { round: buffer.round }).global;
      versions.push(global.tensors);
    }
    bases.set(client, buffer.round);
  }
  return [...global.tensors.values()].flatMap((value) => [...floats(value)]);
}

test("the same arrivals give the same bits, other arrivals another adapter", () => {
  const rng = createRng("arrivals");
  const order = Array.from({ length: 40 }, () => rng.below(6));
  expect(replay(order)).toEqual(replay(order));
  expect(replay([...order].reverse())).not.toEqual(replay(order));
});

test("adds what a stale client changed from its own start, damped, and not its endpoint", () => {
  const global = adapter({ a: [[10, 10]], b: [10] });
  const stale = update("c1", 1, { a: [[3, 3]], b: [3] }, { staleness: 3, base: { a: [[1, 1]], b: [1] } });
  const out = aggregateOnce({ name: "fedbuff" }, global, [stale]).global.tensors;
  // 10 + (3 − 1) / √(1 + 3) = 11
  expect(plain(out)).toEqual({ a: [11, 11], b: [11] });
});
