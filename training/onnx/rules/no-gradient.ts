/** Operators through which no gradient flows, with the reason. */
import type { GradientRule } from "./rule.ts";

const REASONS: Readonly<Record<string, string>> = {
  Shape: "a shape does not depend on values",
  Size: "a shape does not depend on values",
  ConstantOfShape: "made from a shape",
  Range: "made from bounds that are indices",
  NonZero: "its result is indices",
  ArgMax: "its result is indices",
  ArgMin: "its result is indices",
  OneHot: "made from indices",
  EyeLike: "made from a shape",
  Floor: "flat almost everywhere",
  Ceil: "flat almost everywhere",
  Round: "flat almost everywhere",
  Sign: "flat almost everywhere",
  Not: "its result is true or false",
  And: "its result is true or false",
  Or: "its result is true or false",
  Xor: "its result is true or false",
  Equal: "its result is true or false",
  Less: "its result is true or false",
  LessOrEqual: "its result is true or false",
  Greater: "its result is true or false",
  GreaterOrEqual: "its result is true or false",
  IsNaN: "its result is true or false",
  IsInf: "its result is true or false",
};

export const NO_GRADIENT: readonly GradientRule[] = Object.keys(REASONS).map((op) => ({
  op,
  opset: [1, 24],
  backward: (node) => node.inputs.map(() => null),
}));

export const reasonWithoutGradient = (op: string): string | undefined => REASONS[op];
