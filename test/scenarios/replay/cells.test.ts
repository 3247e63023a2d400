import { describe, expect, test } from "vitest";
import { DATASET_NAMES } from "../../../scenarios/fedmllm/scenario.ts";
import { type Cell, cellId, selectCells, settingName } from "../../../scenarios/replay/cell.ts";
import { METHODS, methodNamed } from "../../../scenarios/replay/methods.ts";
import {
  cellHash,
  frozenHash,
  PROFILES,
  type Protocol,
  profileNamed,
} from "../../../scenarios/replay/profiles.ts";
import { publishedNumber } from "../../../scenarios/replay/published-numbers.ts";
import { configOf, evaluatedRounds } from "../../../scenarios/replay/run-cell.ts";

const aligned = { scenario: "aligned", level: 0.5 } as const;
const missing = { scenario: "missing", level: 0.3 } as const;
const CELLS: readonly Cell[] = [
  { dataset: "hateful-memes", method: "zero-shot", seed: 0 },
  { dataset: "hateful-memes", setting: aligned, method: "fedavg", seed: 0 },
  { dataset: "hateful-memes", setting: missing, method: "fedavg", seed: 0 },
  { dataset: "hateful-memes", setting: missing, method: "fedavg", seed: 1 },
  { dataset: "hateful-memes", setting: missing, method: "fedavg+prompt", seed: 0 },
  { dataset: "crisis-mmd", setting: missing, method: "fedyogi", seed: 0 },
];
const chosen = (glob: string | undefined): string[] => selectCells(CELLS, glob).map(cellId);

test("a cell's id names dataset, setting, method and seed", () => {
  expect(cellId(CELLS[0]!)).toBe("hateful-memes/all/zero-shot/seed-0");
  expect(cellId(CELLS[4]!)).toBe("hateful-memes/missing-0.3/fedavg+prompt/seed-0");
});

test.each([
  [undefined, [0, 1, 2, 3, 4, 5]],
  ["hateful-memes/missing-0.3/fedavg/seed-1", [3]],
  ["hateful-memes", [0, 1, 2, 3, 4]], // what follows an id's beginning is free
  ["*/missing-*/fedavg", [2, 3]], // "*" does not take "+prompt" along: parts match whole
  ["*/missing-*/fedavg*", [2, 3, 4]],
  ["**/seed-1", [3]],
  ["*/fedavg", []], // "*" stays within its part
  ["hateful-memes/missing-0.3/fedavg+prompt", [4]], // "+" and "." are no expression's
  ["hateful-memes/missing-0?3", []],
] as const)("the glob %s chooses cells %j", (glob, numbers) => {
  if (numbers.length === 0) expect(() => chosen(glob)).toThrow(`Cannot replay cells "${glob}"`);
  else expect(chosen(glob)).toEqual(numbers.map((i) => cellId(CELLS[i]!)));
});

test("a glob that nothing matches is refused with the parts that there are", () => {
  expect(() => chosen("slake/**")).toThrow(
    expect.objectContaining({
      code: "F6020",
      message: expect.stringMatching(
        /none of 6 .* datasets hateful-memes, crisis-mmd; settings all, aligned-0.5, missing-0.3; methods zero-shot, fedavg, fedavg\+prompt, fedyogi$/,
      ),
    }),
  );
});

test.each([
  [8, 3, [3, 6, 7, 8]], // every ceil(8/3) = 3rd, and the last three
  [15, 3, [5, 10, 13, 14, 15]],
  [1, 3, [1]],
  [2, 5, [1, 2]],
  [40, 5, [14, 28, 36, 37, 38, 39, 40]],
])("of %d rounds with %d last ones these are scored: %j", (rounds, last, scored) => {
  expect([...evaluatedRounds(rounds, last)]).toEqual(scored);
});

test("the standard profile has all thirty cells of the table: 12 + 12 settings, and 6 for the medical sets", () => {
  const { cells } = profileNamed("standard");
  const pairs = new Set(
    cells.flatMap(({ dataset, setting, method }) =>
      setting !== undefined && method === "fedyogi" ? [`${dataset} ${settingName(setting)}`] : [],
    ),
  );
  const counts = DATASET_NAMES.map((name) => [...pairs].filter((pair) => pair.startsWith(name)).length);
  expect(counts).toEqual([12, 12, 6]);
});

describe.each(PROFILES)("the profile $name", (profile) => {
  const { cells, seeds } = profile;
  test("has each cell once, with methods that exist, seeds that it names and the three baselines", () => {
    expect(new Set(cells.map(cellId)).size).toBe(cells.length);
    for (const { method, seed } of cells) {
      expect(methodNamed(method).name).toBe(method);
      expect(seeds).toContain(seed);
    }
    for (const baseline of ["zero-shot", "local", "centralized"]) {
      expect(cells.some(({ method }) => method === baseline)).toBe(true);
    }
  });

  test.each(["protocols", "forLargeModels"] as const)(
    "gives every cell a run configuration that parses, with all the protocol's steps (%s)",
    (which) => {
      const once = new Map(profile.cells.map((cell) => [`${cell.dataset} ${cell.method}`, cell]));
      for (const cell of once.values()) {
        const protocol = profile[which][cell.dataset];
        const dataset = { train: { length: 1000 } };
        const method = methodNamed(cell.method);
        const { cohort, rounds, training } = configOf(cell, method, { protocol, model: "m", dataset });
        if (cohort.mode === "async") throw new TypeError("A replay has rounds");
        expect(cohort.perRound).toBeLessThanOrEqual(protocol.clients);
        const { per_device_train_batch_size: rows, gradient_accumulation_steps: times } = training;
        expect(rows * times).toBe(protocol.batch);
        // An epoch of a client that has a tenth of 1,000 rows.
        const epoch = Math.ceil(100 / protocol.batch);
        const local = training.max_steps === -1 ? epoch * training.num_train_epochs : training.max_steps;
        const wanted = protocol.localSteps === "epoch" ? epoch : protocol.localSteps;
        expect(rounds * cohort.perRound * local).toBeGreaterThanOrEqual(
          protocol.rounds * protocol.perRound * wanted,
        );
      }
    },
  );
});

test("an unknown profile or method is refused with the known ones", () => {
  expect(() => profileNamed("huge")).toThrow('Cannot replay profile "huge": known are quick, standard, full');
  expect(() => methodNamed("fedyoga")).toThrow('did you mean "fedyogi"?');
});

test("methods have names of their own, and each published rule is one of them", () => {
  expect(new Set(METHODS.map(({ name }) => name)).size).toBe(METHODS.length);
  const published = METHODS.flatMap((method) => method.published ?? []);
  expect(published.sort()).toEqual(["FedAdagrad", "FedAdam", "FedAvgM", "FedYogi"]);
});

test.each([
  // FORMULAS of the benchmark, tables 1 to 4 of the source: row and column by hand.
  ["hateful-memes", "auc-hard", "cross", 5, "FedAdam", 74.44],
  ["hateful-memes", "auc-hard", "aligned", 5, "FedYogi", 75.74],
  ["crisis-mmd", "f1-macro", "missing", 0.5, "FedAvgM", 31.72],
  ["crisis-mmd", "f1-macro", "hybrid", 0.4, "FedAdagrad", 53.84],
  ["medical", "vqa", "hybrid", 0.4, "FedYogi", 63.08],
  ["medical", "slake-vqa", "cross", 3, "FedYogi", 58.67],
] as const)("the published %s %s in %s %d for %s is %d", (dataset, metric, scenario, level, row, number) => {
  expect(publishedNumber(dataset, metric, { scenario, level }, row)).toBe(number);
});

test("where the source gives no number there is none", () => {
  expect(publishedNumber("medical", "vqa", { scenario: "cross", level: 5 }, "FedAdam")).toBeUndefined();
  expect(publishedNumber("medical", "vqa", aligned, "FedYogi")).toBeUndefined();
  const unpublished = { scenario: "missing", level: 0.6 } as const;
  expect(publishedNumber("hateful-memes", "auc-hard", unpublished, "FedYogi")).toBeUndefined();
  expect(publishedNumber("hateful-memes", "auc", missing, "FedYogi")).toBeUndefined();
  expect(publishedNumber("crisis-mmd", "f1-macro", missing, "FedAvg")).toBeUndefined();
});

describe("the frozen section's hash", () => {
  const protocol = profileNamed("quick").protocols["hateful-memes"];
  const hash = frozenHash("hateful-memes", protocol, ["data"], "model");

  test.each([
    ["a protocol", frozenHash("hateful-memes", { ...protocol, rounds: 9 }, ["data"], "model")],
    [
      "an adapter's rank",
      frozenHash(
        "hateful-memes",
        { ...protocol, adapter: { ...protocol.adapter, rank: 4 } },
        ["data"],
        "model",
      ),
    ],
    ["the dataset", frozenHash("crisis-mmd", protocol, ["data"], "model")],
    ["the data", frozenHash("hateful-memes", protocol, ["other"], "model")],
    ["the model", frozenHash("hateful-memes", protocol, ["data"], "other")],
    ["which is which", frozenHash("hateful-memes", protocol, ["model"], "data")],
  ])("changes with %s", (_, changed) => {
    expect(changed).not.toBe(hash);
  });

  test("does not change with the order of keys", () => {
    const turned = Object.fromEntries(Object.entries(protocol).reverse()) as unknown as Protocol; // forgets the keys' names
    expect(frozenHash("hateful-memes", turned, ["data"], "model")).toBe(hash);
  });

  test("with the method's part is another for every method that trains otherwise", () => {
    const hashes = METHODS.map(({ name }) => cellHash(hash, name));
    expect(new Set(hashes).size).toBe(METHODS.length);
    expect(hashes).not.toContain(cellHash("another", "fedavg"));
  });
});
