/** Numbers that a rule wants from a client beside its tensors. */
import { FedloomError } from "../base/errors.ts";
import type { UpdateInfo } from "./strategy.ts";

/** @throws FedloomError F3107 where it is missing, not finite or negative */
export function requireMetric(info: UpdateInfo, metric: string, why: string): number {
  const value = info.metrics[metric];
  if (value === undefined || !Number.isFinite(value) || value < 0) {
    throw new FedloomError(
      "F3107",
      `Cannot use the update of client "${info.client}": metric "${metric}" must be a number of at least 0 (${why}), got ${value ?? "none"}`,
      { client: info.client, metric },
    );
  }
  return value;
}

/** The mean step size of a client's local training: as configured, or as the client reports it. */
export function learningRateOf(info: UpdateInfo, configured: number | undefined): number {
  const rate = configured ?? requireMetric(info, "learningRateMean", "the mean learning rate over its steps");
  if (rate > 0) return rate;
  throw new FedloomError(
    "F3107",
    `Cannot use the update of client "${info.client}": its mean learning rate must be above 0, got ${rate}`,
    { client: info.client },
  );
}
