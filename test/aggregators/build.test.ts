import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { buildStrategy } from "../../aggregators/build.ts";
import { STRATEGIES, WRAPPERS } from "../../aggregators/index.ts";
import { parseConfig } from "../../base/config-document.ts";
import { optionsOf, strategiesPage } from "../../scripts/strategies-page.ts";

test("names what it does not know and guesses what was meant", () => {
  expect(() => buildStrategy({ name: "fedadm" })).toThrow(
    'Cannot use strategy "fedadm": did you mean "fedadam"?',
  );
  expect(() => buildStrategy({ name: "zzz" })).toThrow(
    /^Cannot use strategy "zzz": known are fedavg, fedprox, /,
  );
  expect(() => buildStrategy({ name: "fedavg" }, [{ name: "clipp" }])).toThrow(
    'Cannot use wrapper "clipp": did you mean "clip"?',
  );
  expect(() => buildStrategy({ name: "fedadam", preset: "flowr" })).toThrow(
    'Cannot use preset "flowr" of strategy "fedadam": did you mean "flower"?',
  );
});

test("tells every wrong option", () => {
  expect(() => buildStrategy({ name: "fedavg", weightby: "examples" })).toThrow(
    'strategy "fedavg": unknown key "weightby": did you mean "weights"?',
  );
  expect(() => buildStrategy({ name: "fedadam", beta1: 1, tau: "x" })).toThrow(
    'strategy "fedadam": "beta1" must be below 1, got 1\nstrategy "fedadam": "tau" must be a number, got "x"',
  );
});

test("points at line and column of a run file", () => {
  const text = "name: memes\nstrategy:\n  name: fedyogi\n  beta1: 2\n";
  const document = parseConfig("run.yaml", text);
  const spec = { name: "fedyogi", beta1: 2 };
  expect(() => buildStrategy(spec, [], { strategy: { document, at: ["strategy"] } })).toThrow(
    'run.yaml:4:10: "strategy.beta1" must be below 1, got 2',
  );
});

test("lays options over a preset and fills in the defaults", () => {
  const { resolved } = buildStrategy({ name: "fedadam", preset: "fedmllm", tau: 0.5 });
  expect(resolved.strategy).toEqual({
    name: "fedadam",
    weights: "uniform",
    learningRate: 1e-3,
    beta1: 0.9,
    beta2: 0.99,
    tau: 0.5,
    initialV: "tau^2",
    biasCorrection: "none",
    secondMomentOf: "momentum",
    firstMomentum: "delta",
  });
});

test.each([...STRATEGIES, ...WRAPPERS].map((definition) => [definition.name, definition] as const))(
  "every preset of %s is a valid configuration, and its options are described",
  (_name, { config, presets = {} }) => {
    for (const preset of Object.values(presets)) expect(config.safeParse(preset).error).toBeUndefined();
    for (const [option, schema] of Object.entries(optionsOf(config))) {
      expect(schema.description, option).toBeTruthy();
    }
  },
);

test("what it resolved builds the same again", () => {
  for (const { name, presets = {} } of STRATEGIES) {
    for (const preset of [undefined, ...Object.keys(presets)]) {
      const { resolved, needs } = buildStrategy({ name, preset }, [{ name: "proximal", mu: 2 }]);
      const again = buildStrategy(resolved.strategy, resolved.wrappers);
      expect(again.resolved).toEqual(resolved);
      expect(again.needs).toEqual(needs);
    }
  }
});

test("refuses a wrapper twice, and noise around what reads single updates", () => {
  expect(() => buildStrategy({ name: "fedavg" }, [{ name: "clip" }, { name: "clip" }])).toThrow(
    'Cannot use wrapper "clip" twice around "fedavg"',
  );
  expect(() => buildStrategy({ name: "krum" }, [{ name: "clip", noiseMultiplier: 1 }])).toThrow(
    "Cannot add noise around this strategy: it reads single updates",
  );
});

test("refuses to clip around clients that prune their ranks, and leaves the rest of hetlora to be clipped", () => {
  expect(() => buildStrategy({ name: "hetlora", preset: "paper" }, [{ name: "clip" }])).toThrow(
    "Cannot clip around this strategy: its clients prune their ranks",
  );
  expect(buildStrategy({ name: "hetlora" }, [{ name: "clip" }]).needs.prunesRanks).toBe(false);
});

test("docs/strategies.md is what the code says (npm run generate writes it)", () => {
  const page = readFileSync(join(import.meta.dirname, "..", "..", "docs", "strategies.md"), "utf8");
  expect(page).toBe(strategiesPage());
});
