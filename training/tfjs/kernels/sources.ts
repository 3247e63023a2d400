/** Operators whose result is made from shapes alone. Small ones are constants of the program; these are large. */
import { intOf } from "../../onnx/graph.ts";
import { numbersOf } from "../../onnx/numbers.ts";
import { tfType } from "../types.ts";
import type { Kernel } from "./kernel.ts";

export const SOURCES: readonly Kernel[] = [
  {
    op: "ConstantOfShape",
    stated: [0],
    run(tf, _inputs, { attributes: { value }, outputs }) {
      const { shape, type } = outputs[0]!;
      const fill = value?.kind === "tensor" ? (numbersOf(value.value)?.data[0] ?? 0) : 0;
      return tf.cast(tf.fill([...shape], fill, "float32"), tfType(type)!); // plan.ts refused types without one
    },
  },
  {
    op: "EyeLike",
    stated: [0],
    run(tf, _inputs, call) {
      const [rows, columns] = call.outputs[0]!.shape as [number, number];
      const k = intOf(call, "k", 0);
      const ones = Float32Array.from({ length: rows * columns }, (_, at) =>
        (at % columns) - Math.floor(at / columns) === k ? 1 : 0,
      );
      return tf.cast(tf.tensor2d(ones, [rows, columns]), tfType(call.outputs[0]!.type)!);
    },
  },
];
