/** One operator on two runtimes: the oracle of a kernel is onnxruntime, on random inputs of any type. */
import type { Tensor, TensorSet } from "../../../adapters/tensor.ts";
import { tensorSet } from "../../../adapters/tensor.ts";
import { Builder } from "../../../training/onnx/builder.ts";
import { onnxRuntime } from "../../../training/onnx/edge/session.ts";
import type { Attributes } from "../../../training/onnx/graph.ts";
import type { Program } from "../../../training/onnx/program.ts";
import type { Runtime } from "../../../training/onnx/runtime.ts";
import { weightOf } from "../../../training/onnx/weight.ts";

export interface OperatorCase {
  readonly op: string;
  readonly domain?: string;
  readonly note?: string;
  /** A tensor is an input of the program, one in an array a constant of it, null one that is not given. */
  readonly inputs: readonly (Tensor | readonly [Tensor] | null)[];
  readonly attributes?: Attributes;
  readonly outputs?: number;
  readonly opset?: number;
}

/** The program of one operator, all its results as outputs. */
export function programOf({ op, domain = "", inputs, attributes = {}, outputs = 1 }: OperatorCase): {
  program: Program;
  feeds: TensorSet;
} {
  const builder = new Builder();
  const feeds = new Map<string, Tensor>();
  const values = inputs.map((input, i) => {
    if (input === null) return undefined;
    if ("dtype" in input) {
      feeds.set(`x${i}`, input);
      return builder.input(`x${i}`, input.dtype, input.shape);
    }
    return builder.weight(`c${i}`, weightOf(input[0].dtype, input[0].shape, input[0].data));
  });
  const results = builder.emit(op, values, attributes, { domain, name: `test/${op}`, outputCount: outputs });
  const named = new Map(results.map((value, i) => [`y${i}`, value]));
  return { program: builder.program(named), feeds: tensorSet([...feeds]) };
}

export async function runOn(runtime: Runtime, wanted: OperatorCase): Promise<TensorSet> {
  const { program, feeds } = programOf(wanted);
  const options = { folder: "", opset: wanted.opset ?? 18, device: "cpu", packWeights: false } as const;
  const session = await runtime.open(program, options);
  try {
    return await session.run(feeds);
  } finally {
    await session.close();
  }
}

/**
 * Largest difference of any result, relative from 1 up; NaN where types, shapes, or the places of NaN differ.
 */
export async function difference(wanted: OperatorCase, runtime: Runtime): Promise<number> {
  const [mine, theirs] = [await runOn(runtime, wanted), await runOn(onnxRuntime, wanted)];
  let worst = 0;
  for (const [name, expected] of theirs) {
    const got = mine.get(name)!;
    if (got.dtype !== expected.dtype || `${got.shape}` !== `${expected.shape}`) return Number.NaN;
    for (let i = 0; i < expected.data.length; i++) {
      const [a, b] = [Number(got.data[i]), Number(expected.data[i])];
      if (!Object.is(a, b)) worst = Math.max(worst, Math.abs(a - b) / scaleOf(b, expected.dtype));
    }
  }
  return worst;
}

/** Integers and booleans are equal or not; floats are compared relatively from 1 up. */
const scaleOf = (expected: number, dtype: Tensor["dtype"]): number =>
  /^(F|BF)/.test(dtype) ? Math.max(1, Math.abs(expected)) : 1;
