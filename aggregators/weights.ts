/** How much each client counts in an average: an axis of its own, apart from what is done with the average. */
import { z } from "zod";
import { FedloomError } from "../base/errors.ts";
import type { UpdateInfo } from "./strategy.ts";

export const weightsOption = z
  .enum(["examples", "uniform", "sqrt", "tokens", "steps"])
  .describe("what a client counts by: its examples, one each, the root of its examples, tokens or steps");

export type WeightAxis = z.output<typeof weightsOption>;

/**
 * One weight per client, positive, not normalized: which clients share in a tensor is known only there.
 *
 * @throws FedloomError F3107 where a client did not count its tokens
 */
export function weightsOf(axis: WeightAxis, clients: readonly UpdateInfo[]): number[] {
  return clients.map((info) => {
    switch (axis) {
      case "examples":
        return info.examples;
      case "uniform":
        return 1;
      case "sqrt":
        return Math.sqrt(info.examples);
      case "steps":
        return info.steps;
      case "tokens":
        if (info.tokens === undefined || info.tokens === 0) {
          throw new FedloomError(
            "F3107",
            `Cannot weigh client "${info.client}" by tokens: a positive count is wanted, got ${info.tokens ?? "none"}`,
            { client: info.client },
          );
        }
        return info.tokens;
      default:
        return axis satisfies never;
    }
  });
}

export function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
