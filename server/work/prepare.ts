/** Before round 1: the first adapter, the strategy's first state, and whether run and strategy go together at all. */
import { encodeAdapter } from "../../adapters/peft.ts";
import { type BuiltStrategy, buildStrategy } from "../../aggregators/build.ts";
import { checkNeeds, factsOf } from "../../aggregators/needs.ts";
import { encodeState } from "../../aggregators/state-file.ts";
import type { RunConfig } from "../../config/run.ts";
import type { Blobs } from "../blobs/blobs.ts";
import type { ModelPort } from "../ports.ts";
import type { RunCommand } from "../run/state.ts";

/** @throws FedloomError F31xx where the strategy is unknown, its options are wrong, or the run does not fit its needs */
export function strategyOf(config: RunConfig): BuiltStrategy {
  const { proximal } = config;
  // The run's own term acts around everything else, as the last wrapper would.
  const own = proximal === undefined ? [] : [{ name: "proximal", ...proximal }];
  const built = buildStrategy(config.strategy, [...config.wrappers, ...own]);
  checkNeeds(built.name, built.needs, factsOf(config));
  return built;
}

export async function prepare(
  config: RunConfig,
  model: ModelPort,
  blobs: Blobs,
  signal: AbortSignal,
): Promise<RunCommand> {
  const { strategy } = strategyOf(config);
  const adapter = await model.createAdapter(config, signal);
  const files = encodeAdapter(adapter);
  return {
    type: "prepared",
    base: adapter.config.base,
    global: { config: await blobs.put(files.config), model: await blobs.put(files.model) },
    state: await blobs.put(encodeState(strategy.init(adapter))),
  };
}
