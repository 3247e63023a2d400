/**
 * The order that operations are run in.
 *
 * onnxruntime does not keep the order of a file: it walks from the results down, and among what a node needs it
 * takes first what stands last in the file (Graph::ReverseDFSFrom). Written in the order they are made, the
 * gradients of the lowest layer would come first, and those of all others at the end of the step, with everything
 * that they are made of alive until then. So results that nothing else reads stand last, in reverse: each is
 * then computed as soon as it can be.
 */
import type { Operation, Program, Value } from "./program.ts";

export function scheduled(program: Program): Program {
  const read = new Set(program.operations.flatMap(({ inputs }) => inputs));
  const isLast = ({ outputs }: Operation): boolean => !outputs.some((output) => read.has(output));
  return {
    ...program,
    operations: [
      ...program.operations.filter((operation) => !isLast(operation)),
      ...program.operations.filter(isLast).reverse(),
    ],
  };
}

/** The operations as the runtime will run them. */
export function executionOrder({ operations, outputs }: Program): readonly Operation[] {
  const producers = new Map<Value, Operation>();
  for (const operation of operations)
    for (const output of operation.outputs) producers.set(output, operation);
  const place = new Map(operations.map((operation, i) => [operation, i]));
  const inFileOrder = (values: Iterable<Value | undefined>): readonly Operation[] => {
    const found = new Set<Operation>();
    for (const value of values) {
      const from = value && producers.get(value);
      if (from) found.add(from);
    }
    return [...found].sort((a, b) => place.get(a)! - place.get(b)!);
  };
  const read = new Set(operations.flatMap(({ inputs }) => inputs));
  const last = [...outputs.values()].filter((value) => !read.has(value));
  const order: Operation[] = [];
  const seen = new Set<Operation>();
  const stack = inFileOrder(last.length > 0 ? last : outputs.values()).map((operation) => ({
    operation,
    done: false,
  }));
  while (stack.length > 0) {
    const { operation, done } = stack.pop()!;
    if (done) {
      order.push(operation);
    } else if (!seen.has(operation)) {
      seen.add(operation);
      stack.push({ operation, done: true });
      for (const before of inFileOrder(operation.inputs)) stack.push({ operation: before, done: false });
    }
  }
  return order;
}

/**
 * Operations in order again: those of `kept` as they stand, each behind what it reads, and all others as late as that
 * allows.
 *
 * @param kept all that the results need, but for what leads to them
 */
export function asLateAsRead(
  operations: readonly Operation[],
  kept: Iterable<Operation>,
): readonly Operation[] {
  const producers = new Map<Value, Operation>();
  for (const operation of operations)
    for (const output of operation.outputs) producers.set(output, operation);
  const ordered = new Set<Operation>();
  const place = (operation: Operation): void => {
    if (ordered.has(operation)) return;
    for (const input of operation.inputs) {
      const from = input && producers.get(input);
      if (from !== undefined) place(from);
    }
    ordered.add(operation);
  };
  for (const operation of kept) place(operation);
  return [...ordered];
}
