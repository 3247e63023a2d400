/** The operators whose shapes the engine can infer. */
import { ELEMENTWISE } from "./elementwise.ts";
import { LAYOUT } from "./layout.ts";
import type { OperatorKind } from "./operator.ts";
import { PRODUCTS } from "./products.ts";
import { REDUCTIONS } from "./reductions.ts";
import { SOURCES } from "./sources.ts";

export const OPERATORS: readonly OperatorKind[] = [
  ...ELEMENTWISE,
  ...LAYOUT,
  ...SOURCES,
  ...REDUCTIONS,
  ...PRODUCTS,
];
