/** A layer that a model calls twice has its adapter's factors beside both calls, though the exporter copied its weight. */
import { expect, test } from "vitest";
import { float32, type TensorSet, tensor, tensorSet } from "../../../../adapters/tensor.ts";
import { createRng } from "../../../../base/rng.ts";
import type { GraphFile } from "../../../../training/onnx/engine.ts";
import { encodeModel } from "../../../../training/onnx/format/codec.ts";
import type { NodeProto, TensorProto } from "../../../../training/onnx/format/schema.ts";
import { openEngine } from "../../../../training/onnx/open.ts";

const random = (name: string, count: number): Float32Array => {
  const rng = createRng(name);
  return Float32Array.from({ length: count }, () => rng.normal() * 0.7);
};

/** embeddings -> proj -> tanh -> proj again -> head; the second call's weight is drawn from `second`. */
function graphFile(second: string): GraphFile {
  const weight = (name: string, dims: [number, number], drawn = name): TensorProto => ({
    name,
    dataType: 1,
    dims,
    rawData: new Uint8Array(random(drawn, dims[0] * dims[1]).buffer),
  });
  const node = (opType: string, name: string, input: string[], output: string): NodeProto => ({
    opType,
    name,
    input,
    output: [output],
  });
  const ids = { elemType: 7, shape: { dim: [{ dimParam: "b" }, { dimParam: "s" }] } };
  const bytes = encodeModel({
    irVersion: 8,
    opsetImport: [{ domain: "", version: 18 }],
    graph: {
      name: "twice",
      node: [
        node("Gather", "/embed/Gather", ["embed.weight", "input_ids"], "x"),
        node("MatMul", "/model/layer/proj/MatMul", ["x", "onnx::MatMul_1"], "p"),
        node("Tanh", "/act/Tanh", ["p"], "t"),
        node("MatMul", "/model/layer/proj_1/MatMul", ["t", "onnx::MatMul_2"], "y"),
        node("MatMul", "/head/MatMul", ["y", "head.weight"], "logits"),
      ],
      initializer: [
        weight("embed.weight", [5, 3]),
        weight("onnx::MatMul_1", [3, 3], "proj"),
        weight("onnx::MatMul_2", [3, 3], second),
        weight("head.weight", [3, 4]),
      ],
      input: [{ name: "input_ids", type: { tensorType: ids } }],
      output: [{ name: "logits", type: { tensorType: { elemType: 1 } } }],
    },
  });
  return { name: "twice.onnx", bytes, folder: "", fileName: "twice.onnx", read: () => new Uint8Array() };
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
const A = "base_model.model.model.layer.proj.lora_A.weight";
const B = "base_model.model.model.layer.proj.lora_B.weight";
const factors: TensorSet = tensorSet([
  [A, float32([2, 3], random("a", 6))],
  [B, float32([3, 2], random("b", 6))],
]);

const open = (second: string, dropout = 0) =>
  openEngine({
    file: graphFile(second),
    lora: [{ path: "model.layer.proj", rank: 2, scale: 0.5 }],
    objective: "tokens",
    threads: 1,
    dropout,
  });

/** Loss with the factors multiplied out: x (W + scale Aᵀ Bᵀ) at the calls that carry them. */
function lossByHand(calls: readonly boolean[], set: TensorSet): number {
  const value = (name: string) => set.get(name)!.data as Float32Array;
  const [a, b] = [value(A), value(B)];
  const [embed, proj, head] = [random("embed.weight", 15), random("proj", 9), random("head.weight", 12)];
  const times = (x: number[], w: (i: number, o: number) => number, outs: number): number[] =>
    Array.from({ length: outs }, (_, o) => x.reduce((sum, v, i) => sum + v * w(i, o), 0));
  const layer = (x: number[], call: number) =>
    times(
      x,
      (i, o) => proj[i * 3 + o]! + (calls[call] ? 0.5 * (a[i]! * b[o * 2]! + a[3 + i]! * b[o * 2 + 1]!) : 0),
      3,
    );
  // The logits of position t predict label t + 1.
  return [1, 2, 0, 3].reduce((sum, label, t) => {
    const x = Array.from(embed.slice(t * 3, t * 3 + 3));
    const logits = times(layer(layer(x, 0).map(Math.tanh), 1), (i, o) => head[i * 4 + o]!, 4);
    return sum + Math.log(logits.reduce((s, v) => s + Math.exp(v), 0)) - logits[label]!;
  }, 0);
}

test("loss and gradients are those of a layer with the factors at both calls", async () => {
  const engine = await open("proj");
  expect(engine.parameters.map(({ name }) => name)).toEqual([A, B]);
  const { lossSum, gradients } = await engine.step(batch, factors);
  expect(lossSum).toBeCloseTo(lossByHand([true, true], factors), 4);
  for (const [name, { shape, data }] of factors)
    for (let i = 0; i < data.length; i++) {
      const moved = (by: number): TensorSet => {
        const copy = Float32Array.from(data as Float32Array);
        copy[i]! += by;
        return new Map([...factors, [name, float32(shape, copy)]]);
      };
      const h = 1e-3;
      const numeric = (lossByHand([true, true], moved(h)) - lossByHand([true, true], moved(-h))) / (2 * h);
      expect((gradients.get(name)!.data as Float32Array)[i]).toBeCloseTo(numeric, 3);
    }
  await engine.close();
});

test("a layer of a like name with other weights is another layer", async () => {
  const engine = await open("another");
  const [one, both] = [await engine.step(batch, factors), lossByHand([true, true], factors)];
  expect(engine.modules.map(({ path }) => path)).toEqual(["model.layer.proj", "model.layer.proj_1", "head"]);
  expect(Math.abs(one.lossSum - both)).toBeGreaterThan(0.01);
  await engine.close();
});

test("each call has a dropout mask of its own", async () => {
  const engine = await open("proj", 0.5);
  const step = (seed: string) => engine.step({ ...batch, seed }, factors);
  const [first, again, other] = [await step("1"), await step("1"), await step("2")];
  expect(again.lossSum).toBe(first.lossSum);
  expect(other.lossSum).not.toBe(first.lossSum);
  await engine.close();
});
