import { expect, test } from "vitest";
import { ManualClock } from "../../base/clock.ts";
import { afterAwake } from "../../server/awake.ts";

/** A clock of a process that can be made to stand still: its timers then come late, all at once. */
function pausable() {
  const inner = new ManualClock();
  let pausedMs = 0;
  return {
    clock: {
      now: () => inner.now() + pausedMs,
      monotonic: () => inner.monotonic() + pausedMs,
      after: (delayMs: number, wake: () => void) => inner.after(delayMs, wake),
    },
    advance: (ms: number) => inner.advance(ms),
    pause: (ms: number) => {
      pausedMs += ms;
    },
  };
}

test("a timer fires when its time is over, and not once it was taken back", () => {
  const { clock, advance } = pausable();
  const fired: string[] = [];
  afterAwake(clock, 1_000, () => fired.push("kept"));
  const cancel = afterAwake(clock, 1_000, () => fired.push("taken back"));
  advance(999);
  expect(fired).toEqual([]);
  cancel();
  advance(1);
  expect(fired).toEqual(["kept"]);
});

test("a process that stood still gives everybody their time anew, and then counts on", () => {
  const { clock, advance, pause } = pausable();
  const fired: string[] = [];
  afterAwake(clock, 60_000, () => fired.push("idle"));
  const cancel = afterAwake(clock, 60_000, () => fired.push("taken back"));
  advance(30_000);
  pause(600_000);
  advance(30_000);
  expect(fired).toEqual([]);
  advance(59_999);
  expect(fired).toEqual([]);
  cancel();
  advance(1);
  expect(fired).toEqual(["idle"]);
});
