/** What a step on a batch computes: which rows of the output, of which tokens, and the data that says so. */
import { type Tensor, tensor } from "../../adapters/tensor.ts";
import { NAMES, type Plan } from "./compile.ts";
import { rowBucket } from "./inputs.ts";
import { packingOf } from "./packed-rows.ts";
import type { Stack } from "./together.ts";

export interface LossPlan {
  readonly plan: Plan;
  /** For each label its row among those computed. */
  readonly places: readonly number[];
  /** What the program is fed beside batch and parameters. */
  readonly feeds: readonly (readonly [string, Tensor])[];
}

/** @param how packs: whether padding may be left out */
export function lossPlan(
  { slots, rows, length, labelled, inputs }: Stack,
  { packs, ...of }: Pick<Plan, "output" | "wanted" | "front" | "parameters"> & { readonly packs: boolean },
): LossPlan {
  const total = slots * rows * length;
  const apart = slots > 1;
  const packing = packs ? packingOf(inputs, labelled.rows, slots) : undefined;
  const count = Math.min(rowBucket(labelled.rows.length, total), packing?.tokens.length ?? total);
  const all = count === total;
  // With all rows computed, a row stands at its own place; else at the place of its label.
  const places = labelled.rows.map((row, i) => (all ? row : i));
  const labels = new BigInt64Array(count);
  const weights = new Float32Array(count);
  const picked = new BigInt64Array(count);
  places.forEach((place, i) => {
    labels[place] = labelled.labels[i]!;
    weights[place] = 1;
    picked[place] = BigInt(labelled.rows[i]!);
  });
  return {
    plan: {
      kind: "loss",
      ...of,
      rows: all ? undefined : count,
      packed: packing && {
        tokens: packing.tokens.length,
        positions: packing.places.length,
        blocks: slots,
      },
      apart,
    },
    places,
    feeds: [
      [NAMES.labels, tensor("I64", [count, 1], labels)],
      [NAMES.weights, tensor("F32", [count, 1], weights)],
      [NAMES.rows, tensor("I64", [count], picked)],
      [NAMES.tokens, integers(packing?.tokens ?? [])],
      [NAMES.places, integers(packing?.places ?? [])],
    ],
  };
}

const integers = (values: readonly number[]): Tensor =>
  tensor("I64", [values.length], BigInt64Array.from(values, BigInt));
