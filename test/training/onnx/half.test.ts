/** Graphs in float16: A and B stay float32, gradients are scaled on their way, an overflow takes the scale back. */
import { describe, expect, test } from "vitest";
import { float16ToFloat32, toFloat16 } from "../../../adapters/half.ts";
import { float32, type TensorSet, tensor, tensorSet } from "../../../adapters/tensor.ts";
import { createRng } from "../../../base/rng.ts";
import { gradientName, NAMES } from "../../../training/onnx/compile.ts";
import { onnxRuntime } from "../../../training/onnx/edge/session.ts";
import type { GraphFile, StepResult } from "../../../training/onnx/engine.ts";
import { encodeModel } from "../../../training/onnx/format/codec.ts";
import type { NodeProto, TensorProto } from "../../../training/onnx/format/schema.ts";
import { LossScale } from "../../../training/onnx/loss-scale.ts";
import { openEngine } from "../../../training/onnx/open.ts";
import type { Program } from "../../../training/onnx/program.ts";
import type { Runtime, Session } from "../../../training/onnx/runtime.ts";

const [F32, F16] = [1, 10];

/** ids -> embeddings -> proj (LoRA) -> tanh -> norm -> head, computed in one type, logits given in another. */
function graph(type: number, output: number): GraphFile {
  const weight = (name: string, dims: number[], size: number): TensorProto => {
    const rng = createRng(name);
    const length = dims.reduce((product, dim) => product * dim, 1);
    const values = Float32Array.from({ length }, () => rng.normal() * size);
    const data = type === F16 ? toFloat16(values) : values;
    return { name, dataType: type, dims, rawData: new Uint8Array(data.buffer) };
  };
  const node = (opType: string, name: string, input: string[], out: string): NodeProto => ({
    opType,
    name,
    input,
    output: [out],
  });
  const cast = { ...node("Cast", "/Cast", ["y"], "logits"), attribute: [{ name: "to", type: 2, i: output }] };
  const bytes = encodeModel({
    irVersion: 8,
    opsetImport: [{ domain: "", version: 18 }],
    graph: {
      name: "half",
      node: [
        node("Gather", "/embed/Gather", ["embed.weight", "input_ids"], "x"),
        node("MatMul", "/model/proj/MatMul", ["x", "proj.weight"], "p"),
        node("Tanh", "/act/Tanh", ["p"], "t"),
        node("SimplifiedLayerNormalization", "/model/norm", ["t", "norm.weight"], "n"),
        node("MatMul", "/model/head/MatMul", ["n", "head.weight"], "y"),
        cast,
      ],
      initializer: [
        weight("embed.weight", [5, 3], 1),
        weight("proj.weight", [3, 3], 0.5),
        weight("norm.weight", [3], 1),
        weight("head.weight", [3, 4], 1),
      ],
      input: [
        {
          name: "input_ids",
          type: { tensorType: { elemType: 7, shape: { dim: [{ dimParam: "b" }, { dimParam: "s" }] } } },
        },
      ],
      output: [{ name: "logits", type: { tensorType: { elemType: output } } }],
    },
  });
  return { name: "half.onnx", bytes, folder: "", fileName: "half.onnx", read: () => new Uint8Array() };
}

const int64 = (values: number[]) =>
  tensor(
    "I64",
    [1, values.length],
    BigInt64Array.from(values, (v) => BigInt(v)),
  );
const batch = {
  inputs: tensorSet([["input_ids", int64([0, 1, 2, 3, 4])]]),
  labels: int64([-100, 1, 2, 0, 3]),
};
const lora = [{ path: "model.proj", rank: 2, scale: 0.5 }];
const factors = (): TensorSet => {
  const rng = createRng("factors");
  const random = (shape: [number, number]) =>
    float32(
      shape,
      Float32Array.from({ length: shape[0] * shape[1] }, () => rng.normal() * 0.3),
    );
  return tensorSet([
    ["base_model.model.model.proj.lora_A.weight", random([2, 3])],
    ["base_model.model.model.proj.lora_B.weight", random([3, 2])],
  ]);
};

async function step(
  type: number,
  output: number,

  runtime = onnxRuntime,
): Promise<StepResult> {
  const engine = await openEngine({
    file: graph(type, output),
    lora,
    objective: "tokens",
    threads: 1,
    runtime,
  });
  try {
    return await engine.step(batch, factors());
  } finally {
    await engine.close();
  }
}

/** Largest difference of a gradient, as a share of the largest element of its tensor. */
function farthest(got: StepResult, wanted: StepResult): number {
  const shares = [...wanted.gradients].map(([name, { data }]) => {
    const values = data as Float32Array;
    const own = got.gradients.get(name)!.data as Float32Array;
    const largest = Math.max(...values.map(Math.abs));
    return Math.max(...own.map((v, i) => Math.abs(v - values[i]!))) / largest;
  });
  return Math.max(...shares);
}

/** Float16 has 11 bits: each of the handful of operations on the way rounds by up to 5e-4. */
const BOUND = 5e-3;

describe.each([
  ["logits in float16", F16],
  ["logits in float32, as converters leave inputs and outputs", F32],
])("%s", (_, output) => {
  test("loss and gradients are those of float32 within what float16 can hold", async () => {
    const [half, whole] = [await step(F16, output), await step(F32, F32)];
    expect(Math.abs(half.lossSum - whole.lossSum) / whole.lossSum).toBeLessThan(BOUND);
    expect(farthest(half, whole)).toBeLessThan(BOUND);
  });

  test("the gradient is scaled on its way", async () => {
    const programs: Program[] = [];
    const runtime: Runtime = {
      ...onnxRuntime,
      open: (program, options) => {
        programs.push(program);
        return onnxRuntime.open(program, options);
      },
    };
    await step(F16, output, runtime);
    expect(programs.flatMap(({ inputs }) => inputs.map(({ name }) => name))).toContain(NAMES.lossScale);
  });
});

/** A gradient that float16 holds up to 65504 only, on its way to the result, as a device that computes in it has it. */
function deviceIn16(gradient: number, lossOf = (): number => 2): Session {
  return {
    inputs: [NAMES.lossScale],
    outputs: [],
    close: async () => {},
    async run(inputs) {
      const scale = (inputs.get(NAMES.lossScale)!.data as Float32Array)[0]!;
      const onTheWay = float16ToFloat32(toFloat16(Float32Array.of(gradient * scale)))[0]!;
      return tensorSet([
        [NAMES.loss, float32([1], Float32Array.of(lossOf()))],
        [gradientName("w"), float32([1], Float32Array.of(onTheWay / scale))],
      ]);
    },
  };
}

const gradientOf = (results: TensorSet): number => (results.get(gradientName("w"))!.data as Float32Array)[0]!;

describe("the scale of the loss", () => {
  test("keeps gradients that float16 alone would lose", async () => {
    // 2e-8 is less than half of the smallest number of float16.
    expect(gradientOf(await new LossScale().run(deviceIn16(2e-8), new Map()))).toBeCloseTo(2e-8, 10);
  });

  test("goes back where a gradient overflows, and stays there", async () => {
    const scale = new LossScale();
    // 100 * 1024 overflows, 100 * 64 does not.
    expect(gradientOf(await scale.run(deviceIn16(100), new Map()))).toBe(100);
    // At 64 times its size 1e-7 has fewer bits in float16 than at 1024 times.
    const small = gradientOf(await scale.run(deviceIn16(1e-7), new Map()));
    expect(small).not.toBe(gradientOf(await new LossScale().run(deviceIn16(1e-7), new Map())));
  });

  test("does not hide a loss that is no number, nor a gradient that is none at any scale", async () => {
    const scale = new LossScale();
    const nan = await scale.run(
      deviceIn16(100, () => Number.NaN),
      new Map(),
    );
    expect(gradientOf(nan)).toBe(Infinity);
    expect(gradientOf(await scale.run(deviceIn16(Infinity), new Map()))).toBe(Infinity);
  });
});

test("numbers reach a graph that takes float16", async () => {
  const shape = { dim: [{ dimParam: "b" }, { dimValue: 3 }] };
  const bytes = encodeModel({
    irVersion: 8,
    opsetImport: [{ domain: "", version: 18 }],
    graph: {
      name: "half input",
      node: [{ opType: "Neg", name: "/Neg", input: ["pixel_values"], output: ["image_features"] }],
      input: [{ name: "pixel_values", type: { tensorType: { elemType: F16, shape } } }],
      output: [{ name: "image_features", type: { tensorType: { elemType: F16 } } }],
    },
  });
  const file = { name: "half.onnx", bytes, folder: "", fileName: "half.onnx", read: () => new Uint8Array() };
  const engine = await openEngine({ file, lora: [], objective: "none", threads: 1 });
  // All of these are float16 numbers.
  const inputs = tensorSet([["pixel_values", float32([2, 3], [1, -0.5, 0.25, 3, -8, 0])]]);
  const output = await engine.forward({ inputs }, tensorSet([]));
  await engine.close();
  expect(output).toEqual(float32([2, 3], [-1, 0.5, -0.25, -3, 8, -0]));
});
