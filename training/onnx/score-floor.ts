/**
 * Softmax of scores of which a mask hides many, without numbers that the processor cannot hold in full.
 *
 *   softmax(x)  ->  softmax(max(x, c)),  c = min_i max_j x_ij - 40
 *
 * Where AVX-512 is there the runtime takes e^x by scaling a power of two, and a result too small for a normal number costs
 * it a trap of some hundred cycles: for causal scores [9, 256, 256] 1.9 ms instead of 0.5. With the floor a hidden position
 * has e^-40 = 4e-18 of its row's largest weight at most, which no float32 sum can tell from nothing, and rows whose largest
 * scores lie within 40 of each other are without traps. One floor for all rows, because the runtime's Clip with one works
 * in place in a quarter of the time of its Max with one a row. Gradients are those of the softmax without a floor.
 */
import { sizeOf } from "../../adapters/tensor.ts";
import { constant, integers, made, operationOf } from "./finished.ts";
import { visiblePrefixes } from "./forms/visibility.ts";
import { int, intOf } from "./graph.ts";
import { axisOf, type Operation, type Program, type Value } from "./program.ts";
import { weightOf } from "./weight.ts";

/** Below the least of the rows' largest scores: 4,096 hidden positions come to 2e-14 of a weight, float32 rounds to 6e-8. */
const BELOW = 40;
/** Share of the scores that must be hidden: the floor takes as long as the traps for an eighth. */
const LEAST_HIDDEN = 1 / 8;

/** For runtimes with kernels of their own (onnxruntime's CPU provider). */
export function withScoreFloors(program: Program): Program {
  const shares = new Map<Value, number>();
  const hides = (mask: Value): boolean => {
    const share = shares.get(mask) ?? hiddenShare(mask);
    shares.set(mask, share);
    return share >= LEAST_HIDDEN;
  };
  const below = constant("score floor/below", weightOf("F32", [], Float32Array.of(BELOW)));
  const axes = integers("score floor/axes", [-1]);
  const operations = program.operations.flatMap((operation) =>
    readsMasked(operation, hides) ? floored(operation, below, axes) : [operation],
  );
  return { ...program, operations };
}

/** Whether it is a softmax over the last axis of scores to which a mask was added that hides enough of them. */
function readsMasked(operation: Operation, hides: (mask: Value) => boolean): boolean {
  const scores = operation.inputs[0];
  const sum = scores?.from;
  if (operation.op !== "Softmax" || sum?.op !== "Add" || scores?.type !== "F32") return false;
  const rank = scores.shape.length;
  if (rank < 2 || axisOf(intOf(operation, "axis", -1), rank) !== rank - 1) return false;
  const area = `${scores.shape.slice(-2)}`;
  return sum.inputs.some((mask) => `${mask!.shape.slice(-2)}` === area && hides(mask!));
}

function hiddenShare(mask: Value): number {
  const visible = visiblePrefixes(mask).reduce((sum, count) => sum + count, 0);
  return 1 - visible / sizeOf(mask.shape.slice(-2));
}

function floored(softmax: Operation, below: Value, axes: Value): readonly Operation[] {
  const [scores] = softmax.inputs as [Value];
  const name = softmax.outputs[0]!.name;
  const largest = made(`${name}/largest`, scores, [...scores.shape.slice(0, -1), 1]);
  const least = made(`${name}/least`, scores, []);
  const floor = made(`${name}/floor`, scores, []);
  const lifted = made(`${name}/lifted`, scores, scores.shape);
  return [
    operationOf("ReduceMax", [scores, axes], largest, { keepdims: int(1) }),
    operationOf("ReduceMin", [largest], least, { keepdims: int(0) }),
    operationOf("Sub", [least, below], floor),
    operationOf("Clip", [scores, floor], lifted),
    { ...softmax, inputs: [lifted] },
  ];
}
