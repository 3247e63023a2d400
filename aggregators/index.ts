/** The list of strategies and of wrappers. Adding one: its file, its test, one line here. */
import { bulyan } from "./strategies/bulyan.ts";
import { centeredClipping } from "./strategies/centered-clipping.ts";
import { fedAdagrad } from "./strategies/fedadagrad.ts";
import { fedAdam } from "./strategies/fedadam.ts";
import { fedAvg } from "./strategies/fedavg.ts";
import { fedAvgM } from "./strategies/fedavgm.ts";
import { fedBuff } from "./strategies/fedbuff.ts";
import { fedDyn } from "./strategies/feddyn.ts";
import { fedNova } from "./strategies/fednova.ts";
import { fedYogi } from "./strategies/fedyogi.ts";
import { krum } from "./strategies/krum.ts";
import { median } from "./strategies/median.ts";
import { normClipping } from "./strategies/norm-clipping.ts";
import { qFedAvg } from "./strategies/qfedavg.ts";
import { rfa } from "./strategies/rfa.ts";
import { scaffold } from "./strategies/scaffold.ts";
import { trimmedMean } from "./strategies/trimmed-mean.ts";
import type { StrategyDefinition, WrapperDefinition } from "./strategy.ts";

export const STRATEGIES: readonly StrategyDefinition[] = [
  fedAvg,
  fedAvgM,
  fedAdagrad,
  fedAdam,
  fedYogi,
  qFedAvg,
  scaffold,
  fedNova,
  fedDyn,
  fedBuff,
  median,
  trimmedMean,
  krum,
  bulyan,
  rfa,
  normClipping,
  centeredClipping,
];

export const WRAPPERS: readonly WrapperDefinition[] = [];
