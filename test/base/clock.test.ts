import { expect, test } from "vitest";
import { ManualClock } from "../../base/clock.ts";

test("timers fire in order of their time, those of one moment in order of their setting", () => {
  const clock = new ManualClock(1000);
  const fired: string[] = [];
  clock.after(20, () => fired.push(`b@${clock.now()}`));
  clock.after(10, () => fired.push(`a@${clock.now()}`));
  clock.after(20, () => fired.push(`c@${clock.now()}`));
  clock.advance(19);
  expect(fired).toEqual(["a@1010"]);
  clock.advance(1);
  expect(fired).toEqual(["a@1010", "b@1020", "c@1020"]);
});

test("a timer that is taken back does not fire", () => {
  const clock = new ManualClock();
  let fired = false;
  const cancel = clock.after(5, () => {
    fired = true;
  });
  cancel();
  clock.advance(10);
  expect(fired).toBe(false);
});

test("a timer set by a timer fires within the same advance if its time has come", () => {
  const clock = new ManualClock();
  const at: number[] = [];
  clock.after(5, () => clock.after(5, () => at.push(clock.monotonic())));
  clock.advance(10);
  expect(at).toEqual([10]);
});
