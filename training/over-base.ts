/**
 * Training on a base that strategies added side factors to (FLoRA, FedEx-LoRA): W₀ + B'A' + s·B·A, where A and B
 * alone are trained. The engine sees one adapter of rank r + R, own rows of A and columns of B first.
 */
import type { Adapter } from "../adapters/adapter.ts";
import { float32, tensorSet } from "../adapters/tensor.ts";
import { parseName } from "../adapters/tensor-names.ts";
import { FedloomError } from "../base/errors.ts";
import type { View } from "./view.ts";

/** @throws FedloomError F2138 for an adapter with dropout, which would fall on the base's side factors too */
export function assertNoDropout({ config }: Adapter): void {
  if (config.dropout === 0) return;
  throw new FedloomError(
    "F2138",
    `Cannot train over a base with side factors: the adapter's dropout must be 0, got ${config.dropout}`,
  );
}

/** @param stacked what `stackOnBase` made of the adapter and its side factors */
export function overBase(stacked: Adapter): View {
  // Filled in place: the side factors stay, the own part is copied over before each call.
  const whole = tensorSet(
    [...stacked.tensors].map(([name, { shape, data }]) => [
      name,
      float32(shape, Float32Array.from(data as Float32Array)),
    ]),
  );
  return {
    inward(own) {
      for (const [name, { shape, data }] of own) {
        const to = whole.get(name);
        if (to !== undefined)
          copyOwn(name, data as Float32Array, shape, to.data as Float32Array, to.shape, "in");
      }
      return whole;
    },
    outward: (gradients, own) =>
      tensorSet(
        [...gradients].map(([name, { shape, data }]) => {
          const like = own.get(name)!;
          const gradient = new Float32Array(like.data.length);
          copyOwn(name, gradient, like.shape, data as Float32Array, shape, "out");
          return [name, float32(like.shape, gradient)] as const;
        }),
      ),
  };
}

/** Between an own tensor and the same tensor's part of the stacked one; all are F32, as the learner's contract says. */
function copyOwn(
  name: string,
  own: Float32Array,
  ownShape: readonly number[],
  stacked: Float32Array,
  stackedShape: readonly number[],
  direction: "in" | "out",
): void {
  // A's own rows lie at its front; B's own columns at the front of each of its rows.
  const lines = parseName(name)?.part === "lora_B" ? ownShape[0]! : 1;
  const width = own.length / lines;
  const stride = lines === 1 ? 0 : stackedShape[1]!;
  for (let line = 0; line < lines; line++) {
    const from = line * stride;
    if (direction === "in") stacked.set(own.subarray(line * width, (line + 1) * width), from);
    else own.set(stacked.subarray(from, from + width), line * width);
  }
}
