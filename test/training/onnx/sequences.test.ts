/** Parts taken through a sequence are the parts of the tensor. */
import { expect, test } from "vitest";
import { float32, type TensorSet, tensorSet } from "../../../adapters/tensor.ts";
import type { GraphFile } from "../../../training/onnx/engine.ts";
import { encodeModel } from "../../../training/onnx/format/codec.ts";
import type { NodeProto, TensorProto } from "../../../training/onnx/format/schema.ts";
import { openEngine } from "../../../training/onnx/open.ts";

const index = (name: string, value: number): TensorProto => ({
  name,
  dataType: 7,
  dims: [],
  rawData: new Uint8Array(BigInt64Array.of(BigInt(value)).buffer),
});

/** y = x[:, 0] * x[:, -1] for x [2, 3, 2], with the axis kept or dropped. */
function graphFile(keepdims: number): GraphFile {
  const at = (name: string, which: string): NodeProto => ({
    opType: "SequenceAt",
    name: `/${name}`,
    input: ["parts", which],
    output: [name],
  });
  const float = (name: string) => ({ name, type: { tensorType: { elemType: 1 } } });
  const bytes = encodeModel({
    irVersion: 8,
    opsetImport: [{ domain: "", version: 18 }],
    graph: {
      name: "unbind",
      node: [
        {
          opType: "SplitToSequence",
          name: "/unbind",
          input: ["pixel_values"],
          output: ["parts"],
          attribute: [
            { name: "axis", type: 2, i: 1 },
            { name: "keepdims", type: 2, i: keepdims },
          ],
        },
        at("first", "zero"),
        at("last", "minus"),
        { opType: "Mul", name: "/mul", input: ["first", "last"], output: ["y"] },
      ],
      initializer: [index("zero", 0), index("minus", -1)],
      input: [
        {
          name: "pixel_values",
          type: { tensorType: { elemType: 1, shape: { dim: [2, 3, 2].map((dimValue) => ({ dimValue })) } } },
        },
      ],
      output: [float("y")],
    },
  });
  return { name: "unbind.onnx", bytes, folder: "", fileName: "unbind.onnx", read: () => new Uint8Array() };
}

const x = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
const inputs: TensorSet = tensorSet([["pixel_values", float32([2, 3, 2], Float32Array.from(x))]]);

test.each([
  [0, [2, 2]],
  [1, [2, 1, 2]],
])("keepdims %i", async (keepdims, shape) => {
  const engine = await openEngine({
    file: graphFile(keepdims),
    lora: [],
    objective: "none",
    inputGradients: ["pixel_values"],
    threads: 1,
  });
  const y = await engine.forward({ inputs }, new Map());
  expect(y.shape).toEqual(shape);
  // [1 * 5, 2 * 6, 7 * 11, 8 * 12]
  expect(Array.from(y.data as Float32Array)).toEqual([5, 12, 77, 96]);
  const ones = float32(shape, new Float32Array(4).fill(1));
  const { inputGradients } = await engine.backward({ inputs }, new Map(), ones);
  // d(a b) = b at the first part, a at the last, nothing between.
  expect(Array.from(inputGradients.get("pixel_values")!.data as Float32Array)).toEqual([
    5, 6, 0, 0, 1, 2, 11, 12, 0, 0, 7, 8,
  ]);
  await engine.close();
});
