import { expect, test } from "vitest";
import { ManualClock } from "../../base/clock.ts";
import { createMemoryBlobs } from "../../server/blobs/memory.ts";
import { Sweeper } from "../../server/sweep.ts";

const PACE = { everyMs: 0, suspectMs: 60_000 };

async function setting() {
  const clock = new ManualClock();
  const blobs = createMemoryBlobs();
  let onDelete = async (_hash: string): Promise<unknown> => undefined;
  const watching = {
    ...blobs,
    delete: async (hash: string) => {
      await onDelete(hash);
      return blobs.delete(hash);
    },
  };
  const sweeper = new Sweeper(watching, clock, PACE);
  const [a, b] = [await blobs.put(Buffer.from("a")), await blobs.put(Buffer.from("b"))];
  expect(await sweeper.sweep([], [])).toBe(0); // both are noted
  const whileDeleting = (act: typeof onDelete): void => {
    onDelete = act;
  };
  return { clock, blobs, sweeper, a, b, whileDeleting };
}

test("what nobody refers to goes after its time", async () => {
  const { clock, blobs, sweeper, a } = await setting();
  clock.advance(PACE.suspectMs - 1);
  expect(await sweeper.sweep([], [])).toBe(0);
  clock.advance(1);
  expect(await sweeper.sweep([], [a.sha256])).toBe(1);
  expect(await blobs.list()).toEqual([a.sha256]);
});

test.each(["asked for", "put again"])(
  "a blob that is %s while a sweep is under way, since an event is about to name it, stays",
  async (how) => {
    const { clock, blobs, sweeper, a, b, whileDeleting } = await setting();
    const known = sweeper.watched();
    const texts = new Map([
      [a.sha256, "a"],
      [b.sha256, "b"],
    ]);
    let other = "";
    whileDeleting(async (hash) => {
      other = hash === a.sha256 ? b.sha256 : a.sha256;
      if (how === "asked for") expect(await known.size(other)).toBe(1);
      else await known.put(Buffer.from(texts.get(other)!));
    });
    clock.advance(PACE.suspectMs);
    expect(await sweeper.sweep([], [])).toBe(1);
    expect(await blobs.list()).toEqual([other]);
    // Where no event names it after all, it goes another time.
    clock.advance(PACE.suspectMs);
    whileDeleting(async () => undefined);
    expect(await sweeper.sweep([], [])).toBe(1);
  },
);
