import { join } from "node:path";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { float32, type Tensor, tensor, tensorSet } from "../../../adapters/tensor.ts";
import { trainingOptions } from "../../../config/training.ts";
import { Builder } from "../../../training/onnx/builder.ts";
import { openGraphFile } from "../../../training/onnx/edge/files.ts";
import type { Batch, Engine } from "../../../training/onnx/engine.ts";
import { int } from "../../../training/onnx/graph.ts";
import { openEngine } from "../../../training/onnx/open.ts";
import type { Program } from "../../../training/onnx/program.ts";
import { weightOf } from "../../../training/onnx/weight.ts";
import type { TfjsRuntime } from "../../../training/tfjs/runtime.ts";
import { openTfjsTrainer } from "../../../training/tfjs-trainer.ts";
import { CONTRACT_MODEL, contractExamples, REQUEST } from "../trainer-contract.ts";
import { BACKENDS, runtimeOn, tfjsOn } from "./backends.ts";
import { type OperatorCase, programOf, runOn } from "./operator-check.ts";

const GRAPH = join(import.meta.dirname, "../../golden/models/smollm-tiny/onnx/model.onnx");
const MODULE = "model.layers.1.mlp.down_proj";
const OPTIONS = { folder: "", opset: 18, device: "cpu", packWeights: false } as const;

const { tf } = tfjsOn("wasm");
let runtime: TfjsRuntime;
beforeEach(() => {
  runtime = runtimeOn("wasm");
});

const tensors = (): number => tf.memory().numTensors;

const ids = (...values: number[]): Tensor =>
  tensor("I64", [1, values.length], BigInt64Array.from(values, BigInt));
const batchOf = (length: number): Batch => {
  const tokens = ids(...Array.from({ length }, (_, i) => i + 3));
  return { inputs: tensorSet([["input_ids", tokens]]), labels: tokens };
};

const openDecoder = (): Promise<Engine> =>
  openEngine({
    file: openGraphFile(GRAPH),
    lora: [{ path: MODULE, rank: 2, scale: 1 }],
    objective: "tokens",
    runtime,
  });

/** @param fill of every factor */
const factors = ({ parameters }: Engine, fill: number) =>
  tensorSet(
    parameters.map(({ name, shape }) => {
      const data = new Float32Array(shape.reduce((product, dim) => product * dim, 1)).fill(fill);
      return [name, float32(shape, data)] as const;
    }),
  );

describe("what a run leaves behind", () => {
  test("is nothing: the number of tensors is the same after every step, and zero more after closing", async () => {
    const before = tensors();
    const engine = await openDecoder();
    const parameters = factors(engine, 0.1);
    await engine.step(batchOf(6), parameters);
    const open = tensors();
    expect(open).toBeGreaterThan(before);
    for (let step = 0; step < 3; step++) {
      await engine.step(batchOf(6), parameters);
      expect(tensors()).toBe(open);
    }
    await engine.close();
    await runtime.close();
    expect(tensors()).toBe(before);
  });

  test("is nothing where an operator fails half way", async () => {
    const before = tensors();
    const wanted: OperatorCase = { op: "Gather", inputs: [float32([2], Float32Array.of(1, 2)), ids(7)] };
    await expect(runOn(runtime, wanted)).rejects.toMatchObject({
      code: "F2116",
      message: expect.stringMatching(/^Cannot run Gather of node "test\/Gather" with tfjs: .*7/),
    });
    expect(tensors()).toBe(before);
  });
});

test("programs of one model share its frozen weights, also those of another engine", async () => {
  const engine = await openDecoder();
  const parameters = factors(engine, 0.1);
  const before = tf.memory().numBytes;
  await engine.step(batchOf(6), parameters);
  const first = tf.memory().numBytes - before;
  await engine.step(batchOf(9), parameters);
  const other = await openDecoder();
  await other.step(batchOf(6), parameters);
  // 64 x 64 to 256 x 64 weights against rotary tables and masks of a few tokens
  expect(tf.memory().numBytes - before - first).toBeLessThan(0.1 * first);
  await Promise.all([engine.close(), other.close()]);
  await runtime.close();
});

describe("before anything runs, what tfjs does not compute is refused by name", () => {
  const x = float32([2, 3], new Float32Array(6));
  const refusal = (wanted: OperatorCase) => runtime.open(programOf(wanted).program, OPTIONS);

  test.each([
    [
      { op: "BitwiseAnd", inputs: [ids(1), ids(1)] },
      'Cannot run operator BitwiseAnd of node "test/BitwiseAnd" with tfjs: it is not known there; "--trainer onnx" may run it',
    ],
    [
      { op: "ArgMax", inputs: [x], attributes: { select_last_index: int(1) } },
      'Cannot run operator ArgMax of node "test/ArgMax" with tfjs: the last of equal ones is not looked for; "--trainer onnx" may run it',
    ],
    [
      {
        op: "Conv",
        inputs: [
          float32([1, 1, 1, 1, 1], new Float32Array(1)),
          float32([1, 1, 1, 1, 1], new Float32Array(1)),
        ],
      },
      'Cannot run operator Conv of node "test/Conv" with tfjs: 1 or 2 spatial axes are computed, got 3; "--trainer onnx" may run it',
    ],
    [
      { op: "Cast", inputs: [x], attributes: { to: int(11) } },
      'Cannot run operator Cast of node "test/Cast" with tfjs: F64 is not computed with; "--trainer onnx" may run it',
    ],
  ] satisfies [OperatorCase, string][])("%#", async (wanted, message) => {
    const before = tensors();
    await expect(refusal(wanted)).rejects.toMatchObject({ code: "F2111", message });
    expect(tensors()).toBe(before);
  });

  test("a constant that int32 does not hold", async () => {
    const builder = new Builder();
    const given = builder.input("x", "I64", [1]);
    const large = builder.weight("large", weightOf("I64", [1], BigInt64Array.of(2n ** 31n)));
    const program: Program = builder.program(new Map([["y", builder.one("Add", [given, large])]]));
    await expect(runtime.open(program, OPTIONS)).rejects.toMatchObject({
      code: "F2111",
      message:
        'Cannot use constant "large" with tfjs: integers from -2^31 to 2^31 - 1 are wanted, got 2147483648',
    });
  });
});

describe("inputs", () => {
  const wanted = (value: bigint): OperatorCase => ({
    op: "Neg",
    inputs: [tensor("I64", [1], BigInt64Array.of(value))],
  });

  test("of 64 bits keep their value and type where int32 holds them", async () => {
    const results = await runOn(runtime, wanted(2n ** 31n - 1n));
    expect(results.get("y0")).toEqual(tensor("I64", [1], BigInt64Array.of(1n - 2n ** 31n)));
  });

  test("beyond int32 are refused", async () => {
    await expect(runOn(runtime, wanted(2n ** 31n))).rejects.toMatchObject({
      code: "F2114",
      message: 'Cannot use input "x0" with tfjs: integers from -2^31 to 2^31 - 1 are wanted, got 2147483648',
    });
  });

  test("of another shape are refused", async () => {
    const { program } = programOf(wanted(1n));
    const session = await runtime.open(program, OPTIONS);
    await expect(session.run(tensorSet([["x0", ids(1, 2)]]))).rejects.toMatchObject({
      code: "F2114",
      message: 'Cannot use input "x0": it must be I64 [1], got I64 [1, 2]',
    });
  });
});

describe.each(BACKENDS)("what is no number on %s", (backend) => {
  test("comes out as such, in the loss and in the gradients", async () => {
    runtime = runtimeOn(backend);
    const engine = await openDecoder();
    const { lossSum, gradients } = await engine.step(batchOf(6), factors(engine, Number.NaN));
    expect(lossSum).toBeNaN();
    for (const [name, { data }] of gradients)
      expect((data as Float32Array).every(Number.isNaN), name).toBe(true);
    await engine.close();
    await runtime.close();
  });

  test("ends a task with its step and its examples", async () => {
    const trainer = await openTfjsTrainer({ model: CONTRACT_MODEL, tfjs: tfjsOn(backend) });
    onTestFinished(() => trainer.close());
    const adapter = await trainer.createAdapter(REQUEST, "1");
    const options = trainingOptions.parse({ learning_rate: 1e38, max_steps: 4, max_grad_norm: 0 });
    await expect(
      trainer.train({ adapter, seed: "s", options }, await contractExamples(3), {}),
    ).rejects.toMatchObject({ code: "F2137" });
  });
});
