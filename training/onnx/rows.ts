/**
 * Computes an output for some of its rows only.
 *
 * Most positions of a batch have no label, and the projection onto the vocabulary costs more than a layer.
 * So the rows that matter are picked before it: the pick moves up through every operation that treats rows
 * apart and that nobody else reads, to behind the last attention.
 */
import { sizeOf } from "../../adapters/tensor.ts";
import type { Maths } from "./maths.ts";
import { type Operation, readersOf, type Value } from "./program.ts";
import { RowsApart, rowsAt } from "./rows-apart.ts";

/**
 * @param value [..., V]; its axes but the last are the rows, flattened
 * @param rows I64 [n], indices of rows
 * @returns [n, V]
 */
export function pickRows(value: Value, rows: Value, operations: readonly Operation[], g: Maths): Value {
  const readers = readersOf(operations);
  const apart = new RowsApart(sizeOf(value.shape.slice(0, -1)), readers);
  const cone = new Set<Operation>();
  for (const operation of operations.toReversed()) {
    const isTarget = operation.outputs.includes(value);
    const onlyInside = operation.outputs.every((output) =>
      (readers.get(output) ?? []).every((reader) => cone.has(reader)),
    );
    const isRead = operation.outputs.some((output) => readers.has(output));
    if ((isTarget || (isRead && onlyInside)) && apart.rowOperands(operation) !== undefined)
      cone.add(operation);
  }
  const known = new Map<Value, Value>();
  const picked = (of: Value): Value => {
    const made = known.get(of);
    if (made !== undefined) return made;
    const { from } = of;
    const result =
      from !== undefined && cone.has(from)
        ? apart.again(from, picked, rows.shape[0]!, g)
        : rowsAt(apart, of, rows, g);
    known.set(of, result);
    return result;
  };
  return picked(value);
}
