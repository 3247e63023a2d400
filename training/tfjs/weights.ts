/** Frozen weights as tensors: those that lie in a file are made once and shared by all programs that read them. */

import { sizeOf } from "../../adapters/tensor.ts";
import { FedloomError, messageOf } from "../../base/errors.ts";
import type { Value } from "../onnx/program.ts";
import type { Weight } from "../onnx/weight.ts";
import type { Tf, TfTensor } from "./kernels/kernel.ts";
import { tfType, weightValues } from "./types.ts";

export class WeightStore {
  readonly #tf: Tf;
  /** By the place of their bytes, their type and their shape. */
  readonly #shared = new Map<string, TfTensor>();

  constructor(tf: Tf) {
    this.#tf = tf;
  }

  /** @returns whether the store owns the tensor; a constant that was computed belongs to the program that has it */
  tensorOf(
    value: Value & { readonly weight: Weight },
    folder: string,
  ): { tensor: TfTensor; shared: boolean } {
    const { source } = value.weight;
    if (source === undefined) return { tensor: this.#upload(value), shared: false };
    const key = [folder, source.location, source.offset, value.type, value.shape.join()].join("\0");
    const tensor = this.#shared.get(key) ?? this.#upload(value);
    this.#shared.set(key, tensor);
    return { tensor, shared: true };
  }

  /** @throws FedloomError F2111 where an integer does not fit */
  #upload({ name, weight, shape, type }: Value & { readonly weight: Weight }): TfTensor {
    try {
      // Types without one are refused before weights are asked for.
      return this.#tf.tensor(weightValues(weight, sizeOf(shape)), [...shape], tfType(type)!);
    } catch (cause) {
      throw new FedloomError(
        "F2111",
        `Cannot use constant "${name}" with tfjs: ${messageOf(cause)}`,
        { constant: name },
        { cause },
      );
    }
  }

  close(): void {
    for (const tensor of this.#shared.values()) tensor.dispose();
    this.#shared.clear();
  }
}
