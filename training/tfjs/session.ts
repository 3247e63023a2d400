/**
 * Runs a program with the kernels of tfjs, one operation after the other. Whatever a step makes is freed as soon as
 * its last reader ran, so that the number of tensors is the same after every run.
 */
import { type DType, type Tensor, type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { FedloomError, messageOf } from "../../base/errors.ts";
import { type Program, sameShape, type Value } from "../onnx/program.ts";
import type { Session } from "../onnx/runtime.ts";
import type { Tf, TfTensor } from "./kernels/kernel.ts";
import { planRun, type Step } from "./plan.ts";
import { fromTfValues, tfType, toTfValues } from "./types.ts";
import type { WeightStore } from "./weights.ts";

export interface TfjsPlace {
  readonly tf: Tf;
  readonly weights: WeightStore;
  /** Folder that the weights of the program lie in. */
  readonly folder: string;
  /** Makes the backend that the tensors live on the current one. */
  use(): Promise<void>;
}

/** @throws FedloomError F2111 for an operator, a type or a constant that tfjs has not */
export async function openTfjsSession(program: Program, place: TfjsPlace): Promise<Session> {
  const plan = planRun(program);
  const { tf, weights, folder, use } = place;
  await use();
  const constants = new Map<Value, TfTensor>();
  const owned: TfTensor[] = [];
  for (const value of plan.constants) {
    const { tensor, shared } = weights.tensorOf({ ...value, weight: value.weight! }, folder); // those with a weight
    constants.set(value, tensor);
    if (!shared) owned.push(tensor);
  }
  return {
    inputs: program.inputs.map(({ name }) => name),
    outputs: [...program.outputs.keys()],
    async run(inputs, outputs = [...program.outputs.keys()]) {
      await use();
      const live = new Map<Value, TfTensor>();
      try {
        for (const value of plan.inputs) live.set(value, uploaded(tf, value, inputs));
        for (const step of plan.steps) runStep(tf, step, live, constants);
        const results: [string, Tensor][] = [];
        for (const name of outputs) {
          const value = program.outputs.get(name)!;
          const tensor = live.get(value) ?? constants.get(value)!;
          results.push([name, await downloaded(value, tensor)]);
        }
        return tensorSet(results);
      } finally {
        for (const tensor of live.values()) tensor.dispose();
      }
    },
    async close() {
      for (const tensor of owned.splice(0)) tensor.dispose();
    },
  };
}

function runStep(
  tf: Tf,
  { call, kernel, inputs, last }: Step,
  live: Map<Value, TfTensor>,
  constants: ReadonlyMap<Value, TfTensor>,
): void {
  const given = inputs.map((value) => value && (live.get(value) ?? constants.get(value)));
  let results: TfTensor[];
  try {
    results = tf.tidy(() => {
      // A value has a tensor of its own, also where nothing changes.
      const own = (result: TfTensor) => (given.includes(result) ? result.clone() : result);
      return [kernel.run(tf, given, call)].flat().map(own);
    });
  } catch (cause) {
    throw new FedloomError(
      "F2116",
      `Cannot run ${call.op} of node "${call.name}" with tfjs: ${messageOf(cause)}`,
      { operator: call.op, node: call.name },
      { cause },
    );
  }
  results.forEach((result, i) => {
    const value = call.outputs[i];
    if (value === undefined) result.dispose();
    else live.set(value, checked(result, value, call.op));
  });
  for (const value of last) {
    live.get(value)?.dispose();
    live.delete(value);
  }
}

/** A kernel that gives another shape or type than the program states is wrong: it must not go on unseen. */
function checked(result: TfTensor, { shape, type }: Value, op: string): TfTensor {
  if (sameShape(result.shape, shape) && result.dtype === tfType(type)) return result;
  throw new TypeError(
    `The tfjs kernel of ${op} must give ${tfType(type)} [${shape.join(", ")}], got ${result.dtype} [${result.shape.join(", ")}]`,
  );
}

/** @throws FedloomError F2114 where the input is missing, has another type or shape, or an integer beyond int32 */
function uploaded(tf: Tf, { name, type, shape }: Value, inputs: TensorSet): TfTensor {
  const given = inputs.get(name);
  if (given?.dtype !== type || !sameShape(given.shape, shape))
    throw new FedloomError(
      "F2114",
      `Cannot use input "${name}": it must be ${type} [${shape.join(", ")}], got ${given ? `${given.dtype} [${given.shape.join(", ")}]` : "none"}`,
      { input: name },
    );
  try {
    return tf.tensor(toTfValues(type, given.data), [...shape], tfType(type)!); // plan.ts refused types without one
  } catch (cause) {
    throw new FedloomError(
      "F2114",
      `Cannot use input "${name}" with tfjs: ${messageOf(cause)}`,
      { input: name },
      { cause },
    );
  }
}

async function downloaded({ type, shape }: Value, tensor: TfTensor): Promise<Tensor> {
  const values = (await tensor.data()) as Float32Array | Int32Array | Uint8Array;
  return fromTfValues(type as DType, shape, values); // 4-bit types are no results
}
