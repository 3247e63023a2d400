/** One piece of memory, round after round: what was handed back must not change with the next round. */
import { expect, test } from "vitest";
import { float32, tensorSet } from "../../adapters/tensor.ts";
import { apart, createBoard } from "../../aggregators/shared-tensors.ts";

const set = (a: number, b: readonly number[]) =>
  tensorSet([
    ["a", float32([1], [a])],
    ["b", float32([3], b)],
  ]);

test("lays tensors of any length into memory that all threads see, aligned", () => {
  const { tensors } = createBoard().lay(
    tensorSet([...set(1, [2, 3, 4]), ["c", { dtype: "F64", shape: [1], data: Float64Array.of(5) }]]),
  );
  expect([...tensors].map(([name, { data }]) => [name, ...data])).toEqual([
    ["a", 1],
    ["b", 2, 3, 4],
    ["c", 5],
  ]);
  for (const { data } of tensors.values()) expect(data.buffer).toBeInstanceOf(SharedArrayBuffer);
});

test("uses the memory again once it is released, and other memory as long as it is not", () => {
  const board = createBoard();
  const first = board.lay(set(1, [2, 3, 4]));
  const second = board.lay(set(5, [6, 7, 8]));
  expect(first.tensors.get("a")!.data[0]).toBe(1);
  second.release();
  const third = board.lay(set(9, [9, 9, 9]));
  expect(third.tensors.get("b")!.data.buffer).toBe(second.tensors.get("b")!.data.buffer);
  expect(second.tensors.get("a")!.data[0]).toBe(9);
});

test("copies what lies in that memory, however it is wrapped, and nothing else", () => {
  const board = createBoard();
  const laid = board.lay(set(1, [2, 3, 4]));
  const kept = laid.tensors.get("b")!;
  const made = float32([1], [7]);
  const result = apart(
    tensorSet([
      ["a", made],
      ["b", { ...kept, shape: [3] }],
    ]),
    laid.tensors,
  );
  expect(result.get("a")).toBe(made);
  laid.release();
  board.lay(set(0, [0, 0, 0]));
  expect([...result.get("b")!.data]).toEqual([2, 3, 4]);
});
