/** The operators that tfjs computes. One that is not here is refused by name before anything runs. */
import { ELEMENTWISE } from "./elementwise.ts";
import type { Kernel } from "./kernel.ts";
import { LAYOUT } from "./layout.ts";
import { PICKS } from "./picks.ts";
import { PRODUCTS } from "./products.ts";
import { REDUCTIONS } from "./reductions.ts";
import { SOURCES } from "./sources.ts";
import { WINDOWS } from "./windows.ts";

export const KERNELS: readonly Kernel[] = [
  ...ELEMENTWISE,
  ...LAYOUT,
  ...PICKS,
  ...PRODUCTS,
  ...REDUCTIONS,
  ...SOURCES,
  ...WINDOWS,
];
