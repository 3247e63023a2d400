/** The list of strategies and of wrappers. Adding one: its file, its test, one line here. */

import { bulyan } from "./strategies/bulyan.ts";
import { centeredClipping } from "./strategies/centered-clipping.ts";
import { dare } from "./strategies/dare.ts";
import { fedSb } from "./strategies/fed-sb.ts";
import { fedAdagrad } from "./strategies/fedadagrad.ts";
import { fedAdam } from "./strategies/fedadam.ts";
import { fedAvg } from "./strategies/fedavg.ts";
import { fedAvgM } from "./strategies/fedavgm.ts";
import { fedBuff } from "./strategies/fedbuff.ts";
import { fedDyn } from "./strategies/feddyn.ts";
import { fedExLora } from "./strategies/fedex-lora.ts";
import { fedIt } from "./strategies/fedit.ts";
import { fedNova } from "./strategies/fednova.ts";
import { fedProx } from "./strategies/fedprox.ts";
import { fedSaLora } from "./strategies/fedsa-lora.ts";
import { fedYogi } from "./strategies/fedyogi.ts";
import { ffaLora } from "./strategies/ffa-lora.ts";
import { fisher } from "./strategies/fisher.ts";
import { flexLora } from "./strategies/flexlora.ts";
import { flora } from "./strategies/flora.ts";
import { hetLora } from "./strategies/hetlora.ts";
import { krum } from "./strategies/krum.ts";
import { loraFair } from "./strategies/lora-fair.ts";
import { median } from "./strategies/median.ts";
import { normClipping } from "./strategies/norm-clipping.ts";
import { qFedAvg } from "./strategies/qfedavg.ts";
import { rankWiseMean } from "./strategies/rank-wise-mean.ts";
import { rfa } from "./strategies/rfa.ts";
import { roLora } from "./strategies/rolora.ts";
import { scaffold } from "./strategies/scaffold.ts";
import { taskArithmetic } from "./strategies/task-arithmetic.ts";
import { ties } from "./strategies/ties.ts";
import { trimmedMean } from "./strategies/trimmed-mean.ts";
import { yoco } from "./strategies/yoco.ts";
import type { StrategyDefinition, WrapperDefinition } from "./strategy.ts";
import { adaptiveProximal } from "./wrappers/adaptive-proximal.ts";
import { clip } from "./wrappers/clip.ts";
import { noise } from "./wrappers/noise.ts";
import { ownership } from "./wrappers/ownership.ts";
import { proximal } from "./wrappers/proximal.ts";
import { serverOptimizer } from "./wrappers/server-optimizer.ts";
import { travels } from "./wrappers/travels.ts";

export const STRATEGIES: readonly StrategyDefinition[] = [
  fedAvg,
  fedProx,
  fedAvgM,
  fedAdagrad,
  fedAdam,
  fedYogi,
  qFedAvg,
  scaffold,
  fedNova,
  fedDyn,
  fedBuff,
  fedIt,
  ffaLora,
  roLora,
  fedSaLora,
  fedSb,
  flora,
  flexLora,
  fedExLora,
  loraFair,
  hetLora,
  rankWiseMean,
  fisher,
  median,
  trimmedMean,
  krum,
  bulyan,
  rfa,
  normClipping,
  centeredClipping,
  yoco,
  taskArithmetic,
  ties,
  dare,
];

export const WRAPPERS: readonly WrapperDefinition[] = [
  clip,
  noise,
  serverOptimizer,
  travels,
  ownership,
  proximal,
  adaptiveProximal,
];
