import { expect, test } from "vitest";
import { groupSync } from "../../server/journal/group-sync.ts";

/** A disk whose syncs end when the test says so. */
function disk() {
  const syncs: PromiseWithResolvers<void>[] = [];
  const sync = groupSync(() => {
    const one = Promise.withResolvers<void>();
    syncs.push(one);
    return one.promise;
  });
  return { syncs, sync };
}

test("whoever comes while a sync runs waits for the next one, and all of them share it", async () => {
  const { syncs, sync } = disk();
  const first = sync();
  const later = [sync(), sync(), sync()];
  expect(syncs).toHaveLength(1);
  syncs[0]!.resolve();
  await first;
  await new Promise(setImmediate);
  // What the three wrote may have come after the first sync had begun: it does not count for them.
  expect(syncs).toHaveLength(2);
  syncs[1]!.resolve();
  await Promise.all(later);
  void sync();
  expect(syncs).toHaveLength(3);
});

test("after a failure nothing is acknowledged any more", async () => {
  const { syncs, sync } = disk();
  const first = sync();
  const second = sync();
  syncs[0]!.reject(new Error("EIO"));
  await expect(first).rejects.toThrow("EIO");
  await expect(second).rejects.toThrow("EIO");
  await expect(sync()).rejects.toThrow("EIO");
  expect(syncs).toHaveLength(1);
});
