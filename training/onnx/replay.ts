/** Operations made once more over other values. */
import type { Maths } from "./maths.ts";
import type { Operation, Value } from "./program.ts";

/**
 * Makes anew what depends on replaced values.
 *
 * @param operations in topological order
 * @param values what stands for what; takes what is made for each result
 */
export function replay(operations: readonly Operation[], values: Map<Value, Value>, g: Maths): void {
  for (const operation of operations) {
    if (!operation.inputs.some((input) => input && values.has(input))) continue;
    const inputs = operation.inputs.map((input) => (input && values.get(input)) ?? input);
    const { domain, name, outputCount } = operation;
    const outputs = g.builder.emit(operation.op, inputs, operation.attributes, { domain, name, outputCount });
    operation.outputs.forEach((output, i) => {
      values.set(output, outputs[i]!);
    });
  }
}
