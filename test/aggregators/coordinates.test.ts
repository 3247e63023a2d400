/** Coordinate rules on whole tensors and on tiles of sorted columns. */
import { expect, test } from "vitest";
import { float32, tensorSet } from "../../adapters/tensor.ts";
import { buildStrategy } from "../../aggregators/build.ts";
import { aggregateUpdates, contextOf } from "../../aggregators/round.ts";
import { collectUpdates } from "../../aggregators/updates.ts";
import { createRng } from "../../base/rng.ts";
import { CONFIG, entry, plain } from "./small.ts";

test.each([
  ["median", {}],
  ["trimmed-mean", { beta: 0.2 }],
  ["trimmed-mean", { beta: 0 }],
  ["bulyan", { byzantine: 1, guarantee: false }],
] as const)("%s %j gives the same bits from tiles and from single columns", (name, options) => {
  for (const clients of [5, 6, 11]) {
    const drawn = (seed: string) => {
      const rng = createRng(seed);
      // Few different values, so that there are ties, and both zeros.
      const draw = () => [0, -0, 1, -1.5, 0.1][Math.floor(5 * rng.uniform())]!;
      return tensorSet([
        ["a", float32([3, 37], Float32Array.from({ length: 111 }, draw))],
        [
          "b",
          float32(
            [5],
            Float32Array.from({ length: 5 }, () => rng.normal()),
          ),
        ],
      ]);
    };
    const entries = Array.from({ length: clients }, (_, k) =>
      entry(
        { client: `c${10 + k}`, examples: 1 + k, steps: 1, touched: {}, metrics: {}, adapter: CONFIG },
        drawn(`${name} ${k}`),
      ),
    );
    const global = { config: CONFIG, tensors: drawn("global") };
    const built = buildStrategy({ name, ...options });
    const state = built.strategy.init(global);
    const context = contextOf({ built, state, round: 1, global, seed: 1, totalClients: clients });
    const tiled = collectUpdates(entries);
    const { slice: _tiles, ...whole } = tiled;
    const results = [tiled, whole].map((updates) =>
      plain(aggregateUpdates(built, state, context, updates).global.tensors),
    );
    expect(tiled.slice).toBeDefined();
    expect(results[0]).toEqual(results[1]);
  }
});
