import { expect, test, vi } from "vitest";
import { RecentlyRead } from "../../base/recently-read.ts";

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

test("equal bytes under an equal key are read once and give the same thing, also when the first ones were changed since", () => {
  const recent = new RecentlyRead<object>(4);
  const read = vi.fn(() => ({}));
  const first = bytes(1, 2);
  const made = recent.of(first, "a", read);
  first.fill(9);
  expect(recent.of(bytes(1, 2), "a", read)).toBe(made);
  expect(read).toHaveBeenCalledTimes(1);
  expect(recent.of(bytes(1, 2), "b", read)).not.toBe(made);
  expect(recent.of(bytes(1, 2, 3), "a", read)).not.toBe(made);
  expect(read).toHaveBeenCalledTimes(3);
});

test("the oldest goes where there is no room, and what could not be read is tried again", () => {
  const recent = new RecentlyRead<number>(2);
  const reads: number[] = [];
  const read = (value: number): number =>
    recent.of(bytes(value), "", () => {
      reads.push(value);
      if (value === 0) throw new RangeError("nothing");
      return value;
    });
  for (const value of [1, 2, 1, 3, 2, 1]) read(value);
  expect(reads).toEqual([1, 2, 3, 1]);
  expect(() => read(0)).toThrow(RangeError);
  expect(() => read(0)).toThrow(RangeError);
  expect(reads.slice(-2)).toEqual([0, 0]);
});
