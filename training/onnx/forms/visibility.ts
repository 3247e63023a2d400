/**
 * Which keys a query can never see, whatever the batch holds: read from how a mask is made.
 *
 * A mask adds 0 or a huge negative number to scores. Exporters make it of a causal part, which depends on
 * positions alone, and of the batch's padding, which is not known; what the first hides is hidden in any batch.
 */
import { numbersOf } from "../numbers.ts";
import { sliceOf } from "../operators/layout.ts";
import type { Operation, Value } from "../program.ts";

/** Scores with so much taken away have no weight in any softmax of finite scores. */
const HIDDEN = -1e30;

type Test = (row: number, column: number) => boolean;

const never: Test = () => false;

/** For each of the last but one axis: how many of the first columns are enough to hold every one that may be seen. */
export function visiblePrefixes(mask: Value): readonly number[] {
  const [rows, columns] = mask.shape.slice(-2) as [number, number];
  const isHidden = hiddenBy(mask);
  return Array.from({ length: rows }, (_, row) => {
    let end = columns;
    while (end > 0 && isHidden(row, end - 1)) end--;
    return end;
  });
}

/** Where a mask surely takes away more than any score holds. */
function hiddenBy(value: Value): Test {
  if (value.weight !== undefined) return constant(value, (v) => v <= HIDDEN);
  const from = value.from;
  if (from === undefined) return never;
  const [a, b, c] = from.inputs as [Value, Value, Value];
  switch (from.op) {
    case "Add":
    case "Min":
      return either(hiddenBy(a), hiddenBy(b), value, a, b);
    case "Max":
      return both(hiddenBy(a), hiddenBy(b), value, a, b);
    case "Where": {
      const [yes, no] = [hiddenBy(b), hiddenBy(c)];
      const [surely, surelyNot] = [surelyIs(a, true), surelyIs(a, false)];
      const at = (test: Test, of: Value): Test => broadcast(test, of, value);
      const [chosen, other] = [at(yes, b), at(no, c)];
      const [isTrue, isFalse] = [at(surely, a), at(surelyNot, a)];
      return (i, j) =>
        (isTrue(i, j) || other(i, j)) && (isFalse(i, j) || chosen(i, j)) && (chosen(i, j) || other(i, j));
    }
    default:
      return same(value, hiddenBy);
  }
}

/** Where a condition surely has a value. */
function surelyIs(value: Value, wanted: boolean): Test {
  if (value.weight !== undefined) return constant(value, (v) => (v !== 0) === wanted);
  const from = value.from;
  if (from === undefined) return never;
  const [a, b] = from.inputs as [Value, Value];
  const test = (of: Value): Test => surelyIs(of, wanted);
  if (from.op === "Not") return surelyIs(a, !wanted);
  if (from.op === "And" || from.op === "Or")
    return (from.op === "And") === wanted
      ? both(test(a), test(b), value, a, b)
      : either(test(a), test(b), value, a, b);
  return same(value, test);
}

/** Operations that leave the last two axes as they are, or take a part of them. */
function same(value: Value, test: (of: Value) => Test): Test {
  const from = value.from!;
  const x = from.inputs[0];
  if (x === undefined) return never;
  if (from.op === "Cast" || from.op === "Identity" || from.op === "Expand")
    return broadcast(test(x), x, value);
  if (from.op === "Slice") return sliced(from, test(x));
  const keeps = from.op === "Reshape" && `${x.shape.slice(-2)}` === `${value.shape.slice(-2)}`;
  return keeps ? test(x) : never;
}

function sliced(slice: Operation, test: Test): Test {
  const [rows, columns] = sliceOf(slice).slice(-2);
  if (test === never || rows === undefined || columns === undefined) return never;
  return (i, j) => test(rows.start + i * rows.step, columns.start + j * columns.step);
}

/** A constant's test holds for all its leading axes. */
function constant(value: Value, holds: (v: number) => boolean): Test {
  const data = value.weight && numbersOf(value.weight)?.data;
  if (data === undefined) return never;
  const [rows, columns] = [value.shape.at(-2) ?? 1, value.shape.at(-1) ?? 1];
  const size = rows * columns;
  const all = new Uint8Array(size).fill(1);
  data.forEach((v, i) => {
    if (!holds(v)) all[i % size] = 0;
  });
  return (i, j) => all[i * columns + j] === 1;
}

/** A test of an operand, asked with the places of the result that it was broadcast to. */
function broadcast(test: Test, operand: Value, result: Value): Test {
  const [rows, columns] = [operand.shape.at(-2) ?? 1, operand.shape.at(-1) ?? 1];
  if (test === never || (rows === result.shape.at(-2) && columns === result.shape.at(-1))) return test;
  return (i, j) => test(rows === 1 ? 0 : i, columns === 1 ? 0 : j);
}

function either(p: Test, q: Test, result: Value, a: Value, b: Value): Test {
  const [left, right] = [broadcast(p, a, result), broadcast(q, b, result)];
  if (left === never) return right;
  return right === never ? left : (i, j) => left(i, j) || right(i, j);
}

function both(p: Test, q: Test, result: Value, a: Value, b: Value): Test {
  const [left, right] = [broadcast(p, a, result), broadcast(q, b, result)];
  return left === never || right === never ? never : (i, j) => left(i, j) && right(i, j);
}
