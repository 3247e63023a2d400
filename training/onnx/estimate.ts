/**
 * Peak memory of a program before it is run: the values that are alive at once when operations run in order,
 * as the runtime runs them, and the weights, which are mapped and touched in every step.
 */
import { intOf } from "./graph.ts";
import type { Operation, Program, Value } from "./program.ts";
import { executionOrder } from "./schedule.ts";
import { byteSize } from "./weight.ts";

export interface MemoryEstimate {
  /** Largest sum of values alive at once. */
  readonly activationBytes: number;
  readonly weightBytes: number;
  /** What the process is expected to hold at its peak. */
  readonly peakBytes: number;
}

/** Node, the runtime's code, and the graph while a session is made: measured with a graph of 6,000 operations. */
const BASE_BYTES = 200 * 2 ** 20;
/** The runtime's arena grows in steps and does not fill them. */
const ARENA_SLACK = 1.2;

/** Programs never change, and who compiles one asks as well as who keeps its session. */
const KNOWN = new WeakMap<Program, MemoryEstimate>();

/**
 * Reads every operation (35 ms for a step of 30 layers), once a program.
 *
 * @param packed whether the runtime repacks weights for its kernels ("fast")
 */
export function estimateMemory(program: Program, packed = false): MemoryEstimate {
  const estimate = KNOWN.get(program) ?? ofMapped(program);
  KNOWN.set(program, estimate);
  return packed ? peakOf(estimate.activationBytes, packedBytes(program)) : estimate;
}

const peakOf = (activationBytes: number, weightBytes: number): MemoryEstimate => ({
  activationBytes,
  weightBytes,
  peakBytes: BASE_BYTES + weightBytes + ARENA_SLACK * activationBytes,
});

/** With weights as they lie in their files. */
function ofMapped(program: Program): MemoryEstimate {
  const root = new Map<Value, Value>();
  const rootOf = (value: Value): Value => root.get(value) ?? value;
  const lastUse = new Map<Value, number>();
  const weights = new Map<string, number>();
  const order = executionOrder(program);
  const turned = new Set(order.filter(turnsWeight).map(({ outputs }) => outputs[0]!));
  const operations = order.filter((operation) => !turnsWeight(operation));
  operations.forEach(({ op, inputs, outputs }, at) => {
    // A Reshape gives the same bytes another shape.
    if (op === "Reshape" && inputs[0]!.weight === undefined) root.set(outputs[0]!, rootOf(inputs[0]!));
    for (const input of inputs) {
      if (input === undefined) continue;
      if (input.weight || turned.has(input)) weights.set(input.name, byteSize(input.type, input.shape));
      else lastUse.set(rootOf(input), at);
    }
  });
  for (const output of program.outputs.values()) lastUse.set(rootOf(output), operations.length);

  const ending = Map.groupBy(lastUse.keys(), (value) => lastUse.get(value)!);
  let alive = program.inputs.reduce((sum, { type, shape }) => sum + byteSize(type, shape), 0);
  let peak = alive;
  operations.forEach(({ outputs }, at) => {
    for (const output of outputs) if (!root.has(output)) alive += byteSize(output.type, output.shape);
    peak = Math.max(peak, alive);
    for (const value of ending.get(at) ?? []) if (!value.input) alive -= byteSize(value.type, value.shape);
  });
  return peakOf(
    peak,
    [...weights.values()].reduce((sum, bytes) => sum + bytes, 0),
  );
}

/** Turned once when the session opens: in memory in place of what lies in the file. */
const turnsWeight = ({ op, inputs }: Operation): boolean =>
  op === "Transpose" && inputs[0]!.weight !== undefined;

/**
 * Weights where products keep their right operand in an order of their own: once for each way that it is read
 * (forward as it is, backward transposed), and as it lies in the file where anything else reads it.
 */
function packedBytes(program: Program): number {
  const copies = new Map<string, number>();
  for (const operation of program.operations)
    operation.inputs.forEach((input, i) => {
      if (!input?.weight) return;
      const isPacked =
        i === 1 &&
        input.shape.length === 2 &&
        input.type === "F32" &&
        (operation.op === "MatMul" || operation.op === "Gemm");
      const form = isPacked ? `${operation.op} ${intOf(operation, "transB", 0)}` : "as it lies";
      copies.set(`${input.name} ${form}`, byteSize(input.type, input.shape));
    });
  return [...copies.values()].reduce((sum, bytes) => sum + bytes, 0);
}
