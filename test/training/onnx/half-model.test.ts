/** A whole decoder in float16 against the same in float32: the loss, every gradient, and what a step of AdamW makes of them. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { toFloat16 } from "../../../adapters/half.ts";
import { readPeft } from "../../../adapters/peft.ts";
import { readSafetensors } from "../../../adapters/safetensors.ts";
import { trainingOptions } from "../../../config/training.ts";
import { loraSpecs } from "../../../training/lora-specs.ts";
import { openGraphFile } from "../../../training/onnx/edge/files.ts";
import type { GraphFile } from "../../../training/onnx/engine.ts";
import { decodeModel, encodeModel } from "../../../training/onnx/format/codec.ts";
import type { AttributeProto, TensorProto, ValueInfoProto } from "../../../training/onnx/format/schema.ts";
import { openEngine } from "../../../training/onnx/open.ts";
import { createOptimizer } from "../../../training/optimizers.ts";

const golden = join(import.meta.dirname, "../../golden/models/smollm-tiny");
const [FLOAT, HALF] = [1, 10];

/** As converters do it: every float32 in the file becomes float16, and so does what was cast to float32. */
function inHalf(file: GraphFile): Uint8Array {
  const weight = (proto: TensorProto): TensorProto => {
    if (proto.dataType !== FLOAT) return proto;
    const { rawData, floatData, ...rest } = proto;
    const values = rawData ? new Float32Array(rawData.slice().buffer) : Float32Array.from(floatData ?? []);
    // Masks hold the smallest float32, which float16 has no room for.
    const bounded = values.map((v) => Math.min(Math.max(v, -65504), 65504));
    return { ...rest, dataType: HALF, rawData: new Uint8Array(toFloat16(bounded).buffer) };
  };
  const attribute = (proto: AttributeProto, op: string): AttributeProto => {
    if (proto.t !== undefined) return { ...proto, t: weight(proto.t) };
    return op === "Cast" && proto.name === "to" && proto.i === FLOAT ? { ...proto, i: HALF } : proto;
  };
  const typed = (info: ValueInfoProto): ValueInfoProto => {
    const tensorType = info.type?.tensorType;
    if (tensorType?.elemType !== FLOAT) return info;
    return { ...info, type: { tensorType: { ...tensorType, elemType: HALF } } };
  };
  const model = decodeModel(file.bytes);
  const graph = model.graph!;
  const node = (graph.node ?? []).map(({ attribute: own = [], ...one }) => ({
    ...one,
    attribute: own.map((each) => attribute(each, one.opType ?? "")),
  }));
  return encodeModel({
    ...model,
    graph: {
      ...graph,
      node,
      initializer: (graph.initializer ?? []).map(weight),
      input: (graph.input ?? []).map(typed),
      output: (graph.output ?? []).map(typed),
    },
  });
}

const adapter = readPeft(join(golden, "reference/r8_a16_all/adapter"));
const { labels, ...inputs } = Object.fromEntries(
  readSafetensors(readFileSync(join(golden, "reference/inputs.safetensors"))),
);
const batch = { inputs: new Map(Object.entries(inputs)), labels: labels! };

async function step(file: GraphFile) {
  const engine = await openEngine({ file, lora: loraSpecs(adapter), objective: "tokens", threads: 1 });
  onTestFinished(() => engine.close());
  const result = await engine.step(batch, adapter.tensors);
  const means = new Map(
    [...result.gradients].map(([name, { data }]) => [
      name,
      (data as Float32Array).map((v) => v / result.labels),
    ]),
  );
  const parameters = [...adapter.tensors].map(([name, { shape, data }]) => ({
    name,
    shape,
    data: Float32Array.from(data as Float32Array),
  }));
  const options = trainingOptions.parse({ optim: "sgd", learning_rate: 0.1 });
  createOptimizer(options, parameters).step(means, 0.1);
  return { loss: result.lossSum / result.labels, means, parameters };
}

/** Of the loss; float16 has 11 bits, and two layers of it stand between. */
const LOSS = 2e-3;
/** Of a gradient tensor's largest element, and of the largest step of a weight of the tensor. */
const GRADIENT = 2e-2;
/** Float32 in another order is within 1e-5; the losses alone may happen to be equal. */
const HALF_AT_ALL = 1e-4;

test("loss, gradients and the step lie within the bounds that docs/engine.md states", async () => {
  const whole = openGraphFile(join(golden, "onnx/model.onnx"));
  const folder = mkdtempSync(join(tmpdir(), "fedloom-half-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "half.onnx"), inHalf(whole));
  const [half, exact] = [await step(openGraphFile(join(folder, "half.onnx"))), await step(whole)];
  expect(Math.abs(half.loss - exact.loss) / exact.loss).toBeLessThan(LOSS);
  const start = adapter.tensors;
  for (const [i, { name, data }] of exact.parameters.entries()) {
    const gradient = exact.means.get(name)!;
    const largest = gradient.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
    const other = half.means.get(name)!;
    const error = gradient.reduce((max, v, at) => Math.max(max, Math.abs(v - other[at]!)), 0);
    expect(error / largest, name).toBeLessThan(GRADIENT);
    expect(error / largest, name).toBeGreaterThan(HALF_AT_ALL);
    const from = start.get(name)!.data as Float32Array;
    const moved = data.reduce((max, v, at) => Math.max(max, Math.abs(v - from[at]!)), 0);
    const apart = data.reduce((max, v, at) => Math.max(max, Math.abs(v - half.parameters[i]!.data[at]!)), 0);
    expect(apart / moved, name).toBeLessThan(GRADIENT);
  }
});
