/** A lowering: an operator written with those that have rules of their own. */
import type { Maths } from "../maths.ts";
import type { Call, Value } from "../program.ts";

export interface Lowering {
  readonly op: string;
  readonly domain: string;
  /** First and last version of the operator set that it is right for. */
  readonly opset: readonly [number, number];
  /** The results in order; undefined for those it does not make, which must not be used. */
  lower(call: Call, g: Maths): readonly (Value | undefined)[];
}
