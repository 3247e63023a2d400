/** The list of strategies and of wrappers. Adding one: its file, its test, one line here. */
import { fedAvg } from "./fedavg.ts";
import type { StrategyDefinition, WrapperDefinition } from "./strategy.ts";

export const STRATEGIES: readonly StrategyDefinition[] = [fedAvg];
export const WRAPPERS: readonly WrapperDefinition[] = [];
