/**
 * Reverse mode: walks the operations backwards from the values whose gradient is given, asks each operator's
 * rule for the gradients of its inputs, and adds up what comes together. Only thunks on a path to a wanted
 * value are called, so frozen weights and whatever lies below the lowest trained layer cost nothing.
 */
import { sumOf } from "./accumulate.ts";
import type { Maths } from "./maths.ts";
import { type Operation, readersOf, type Value } from "./program.ts";
import { refuseOtherAttributes } from "./rules/attributes.ts";
import { RULES } from "./rules/index.ts";
import { reasonWithoutGradient } from "./rules/no-gradient.ts";
import { type GradientRule, refuse } from "./rules/rule.ts";

const RULE_OF = new Map(RULES.map((rule) => [`${rule.domain ?? ""}::${rule.op}`, rule]));

/**
 * @param operations in topological order, holding all that lies between `wanted` and the seeded values
 * @param seeds gradient of each value that the walk starts from
 * @param opsets versions of the operator sets that the operations come from
 * @returns the gradients of those wanted values that the seeded ones depend on
 * @throws FedloomError F2111 for an operator without rule or outside a rule's versions, before anything is built
 */
export function differentiate(
  operations: readonly Operation[],
  seeds: ReadonlyMap<Value, Value>,
  wanted: Iterable<Value>,
  opsets: ReadonlyMap<string, number>,
  g: Maths,
): ReadonlyMap<Value, Value> {
  const targets = new Set(wanted);
  const path = operationsOnPath(operations, seeds, targets);
  const rules = path.operations.map((operation) => ruleFor(operation, opsets));

  const parts = new Map([...seeds].map(([value, seed]) => [value, [seed]]));
  const sums = new Map<Value, Value>();
  const gradientOf = (value: Value): Value | undefined => {
    const known = sums.get(value);
    const own = parts.get(value);
    if (known !== undefined || own === undefined) return known;
    const sum = sumOf(own, g);
    sums.set(value, sum);
    return sum;
  };
  const readers = readersOf(operations);
  path.operations.forEach((operation, i) => {
    g.builder.at(operation.name, () => {
      const dys = operation.outputs.map(gradientOf);
      if (dys.every((dy) => dy === undefined)) return;
      const around = { readers: (value: Value) => readers.get(value) ?? [], gradientOf };
      const thunks = rules[i]!.backward(operation, dys, g, around);
      operation.inputs.forEach((input, at) => {
        if (input === undefined || !path.active.has(input)) return;
        const gradient = thunks[at]?.();
        if (gradient === undefined) return;
        parts.set(input, [...(parts.get(input) ?? []), gradient]);
      });
    });
  });
  return new Map(
    [...targets].flatMap((value) => {
      const gradient = gradientOf(value);
      return gradient === undefined ? [] : [[value, gradient] as const];
    }),
  );
}

/** The operations between wanted and seeded values, last first, and the values that depend on wanted ones. */
function operationsOnPath(
  operations: readonly Operation[],
  seeds: ReadonlyMap<Value, Value>,
  wanted: ReadonlySet<Value>,
): { operations: readonly Operation[]; active: ReadonlySet<Value> } {
  const active = new Set(wanted);
  for (const { inputs, outputs } of operations)
    if (inputs.some((input) => input !== undefined && active.has(input)))
      for (const output of outputs) active.add(output);
  const reached = new Set(seeds.keys());
  const path: Operation[] = [];
  for (const operation of operations.toReversed()) {
    if (!operation.outputs.some((output) => reached.has(output) && active.has(output))) continue;
    path.push(operation);
    for (const input of operation.inputs) if (input && active.has(input)) reached.add(input);
  }
  return { operations: path, active };
}

function ruleFor(operation: Operation, opsets: ReadonlyMap<string, number>): GradientRule {
  const rule = RULE_OF.get(`${operation.domain}::${operation.op}`);
  if (rule === undefined) refuse(operation, "it has no gradient rule");
  const version = opsets.get(operation.domain) ?? 1;
  const [oldest, newest] = rule.opset;
  // Operations that lowering made are of the form that the rules know, whatever the graph's version.
  if (version > newest || (version < oldest && operation.domain !== ""))
    refuse(operation, `its operator set must be ${oldest} to ${newest}, got ${version}`);
  if (rule.domain || reasonWithoutGradient(rule.op) === undefined)
    refuseOtherAttributes(operation, "differentiate");
  return rule;
}
