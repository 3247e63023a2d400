/** What must never reach an average: refused by name and with numbers, before the round or in it. */
import { expect, test } from "vitest";
import { float32, tensorSet } from "../../adapters/tensor.ts";
import { buildStrategy } from "../../aggregators/build.ts";
import { STRATEGIES } from "../../aggregators/index.ts";
import { checkNeeds, type RunFacts } from "../../aggregators/needs.ts";
import { aggregateUpdates, contextOf } from "../../aggregators/round.ts";
import { admit, checkUpdate, type Expectation, MAX_COUNT } from "../../aggregators/update-check.ts";
import { collectUpdates, type UpdateEntry } from "../../aggregators/updates.ts";
import { FedloomError } from "../../base/errors.ts";
import { adapter, aggregateOnce, CONFIG, entry, update, type Values } from "./small.ts";

const A = "base_model.model.layers.0.q_proj.lora_A.weight";
const B = "base_model.model.layers.0.q_proj.lora_B.weight";
const global = adapter({ [A]: [[0, 0, 0]], [B]: [[0], [0]] });
const GOOD: Readonly<Record<string, Values>> = { [A]: [[1, 2, 3]], [B]: [[4], [5]] };
const fedavg = buildStrategy({ name: "fedavg" });
const expectation: Expectation = { global, needs: fedavg.needs };

function refusal(bad: UpdateEntry, expected: Expectation = expectation): { code: string; message: string } {
  try {
    checkUpdate(expected, bad);
  } catch (error) {
    if (error instanceof FedloomError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error("the update was let through");
}

test("lets a sound update through", () => {
  expect(() => checkUpdate(expectation, update("c1", 10, GOOD))).not.toThrow();
});

test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
  "refuses %s by tensor and client",
  (value) => {
    expect(refusal(update("c7", 10, { ...GOOD, [B]: [[4], [value]] }))).toEqual({
      code: "F3102",
      message: `Cannot use the update of client "c7": tensor "${B}" must be finite, got ${value} at position 1`,
    });
  },
);

test("refuses a wrong shape with both shapes", () => {
  expect(refusal(update("c7", 10, { ...GOOD, [A]: [[1, 2, 3, 4]] }))).toEqual({
    code: "F3101",
    message: `Cannot use the update of client "c7": tensor "${A}" must have shape [1, 3], got [1, 4]`,
  });
});

test("refuses a shape that numpy would broadcast", () => {
  expect(refusal(update("c7", 10, { ...GOOD, [A]: [[1]] })).message).toContain(
    "must have shape [1, 3], got [1, 1]",
  );
  expect(refusal(update("c7", 10, { ...GOOD, [A]: [1, 2, 3] })).message).toContain(
    "must have shape [1, 3], got [3]",
  );
});

test("refuses another element type", () => {
  const half = tensorSet([
    [A, float32([1, 3], [1, 2, 3])],
    [B, float32([2, 1], [4, 5])],
  ]);
  const info = { client: "c7", examples: 1, steps: 1, touched: {}, metrics: {}, adapter: CONFIG };
  expect(refusal(entry(info, half)).message).toBe(
    `Cannot use the update of client "c7": tensor "${A}" must be F64, got F32`,
  );
});

test("refuses a tensor that the global adapter does not have", () => {
  expect(refusal(update("c7", 10, { ...GOOD, renamed: [1] })).message).toBe(
    'Cannot use the update of client "c7": tensor "renamed" is not in the global adapter',
  );
});

test("refuses an update without tensors", () => {
  expect(refusal(update("c7", 10, {})).message).toContain("it holds none of the adapter's tensors");
});

test.each([-5, 1.5, Number.NaN, MAX_COUNT + 1, 1e12])("refuses %s examples", (examples) => {
  expect(refusal(update("c7", examples, GOOD))).toEqual({
    code: "F3104",
    message: `Cannot use the update of client "c7": "examples" must be a whole number from 0 to 1000000000, got ${examples}`,
  });
});

test("refuses counts of steps, tokens and modalities that cannot be true", () => {
  expect(refusal(update("c7", 1, GOOD, { steps: -1 })).message).toContain('"steps" must be a whole number');
  expect(refusal(update("c7", 1, GOOD, { tokens: 1e15 })).message).toContain(
    '"tokens" must be a whole number',
  );
  expect(refusal(update("c7", 1, GOOD, { touched: { image: -2 } })).message).toContain(
    '"image" must be a whole number',
  );
});

test("drops a client that trained nothing, and says so", () => {
  expect(refusal(update("c7", 0, GOOD))).toEqual({
    code: "F3108",
    message: 'Cannot use the update of client "c7": it trained on 0 examples',
  });
  expect(refusal(update("c7", 9, GOOD, { steps: 0 })).message).toContain("it took 0 optimizer steps");
});

test("refuses another base model", () => {
  const based = { ...global, config: { ...CONFIG, base: "a".repeat(64) } };
  const other = update("c7", 9, GOOD, { adapter: { ...CONFIG, base: "b".repeat(64) } });
  expect(refusal(other, { ...expectation, global: based })).toMatchObject({ code: "F3106" });
});

test("refuses another scale where the strategy takes one scale", () => {
  const other = update("c7", 9, GOOD, { adapter: { ...CONFIG, alpha: 16 } });
  expect(refusal(other)).toEqual({
    code: "F3106",
    message: 'Cannot use the update of client "c7": its alpha must be 1, got 16',
  });
});

test("refuses another rank, unless the strategy takes any", () => {
  const longer = {
    [A]: [
      [1, 2, 3],
      [4, 5, 6],
    ],
    [B]: [
      [1, 2],
      [3, 4],
    ],
  };
  const other = update("c7", 9, longer, { adapter: { ...CONFIG, rank: 2, alpha: 2 } });
  expect(refusal(other).message).toBe('Cannot use the update of client "c7": its rank must be 1, got 2');
  const flexlora = buildStrategy({ name: "flexlora" });
  expect(() => checkUpdate({ global, needs: flexlora.needs }, other)).not.toThrow();
});

test("refuses factors whose ranks do not agree with each other", () => {
  const torn = update(
    "c7",
    9,
    {
      [A]: [
        [1, 2, 3],
        [4, 5, 6],
      ],
      [B]: [[1], [2]],
    },
    { adapter: { ...CONFIG, rank: 2 } },
  );
  const { needs } = buildStrategy({ name: "flexlora" });
  expect(refusal(torn, { global, needs }).message).toContain("has rank 2 and its partner has rank 1");
});

test("refuses an update that lacks the set the strategy asked for", () => {
  const asking = { ...expectation, extras: ["fisher"] };
  expect(refusal(update("c7", 9, GOOD), asking)).toEqual({
    code: "F3107",
    message: 'Cannot use the update of client "c7": the strategy wants the set "fisher" beside it',
  });
  const negative = update("c7", 9, GOOD, { extras: { fisher: { ...GOOD, [B]: [[1], [-1]] } } });
  expect(refusal(negative, asking).message).toContain('of its set "fisher" holds a negative value');
});

test("refuses both updates of a client that comes twice", () => {
  const { admitted, refused } = admit(expectation, [
    update("c1", 1, GOOD),
    update("c2", 1, GOOD),
    update("c1", 2, GOOD),
  ]);
  expect(admitted.map(({ info }) => info.client)).toEqual(["c2"]);
  expect(refused.map(({ client, error }) => [client, error.code])).toEqual([
    ["c1", "F3105"],
    ["c1", "F3105"],
  ]);
  expect(() => collectUpdates([update("c1", 1, GOOD), update("c1", 2, GOOD)])).toThrow(
    'Cannot aggregate two updates of client "c1" in one round: one is wanted',
  );
});

test.each(STRATEGIES.map(({ name }) => name))("%s refuses an empty round", (name) => {
  expect(() => aggregateOnce({ name }, global, [])).toThrow(
    /^Cannot aggregate round 1 with ".+": at least \d+ usable updates are wanted, got 0$/,
  );
});

test("refuses a round whose clients were all dropped, and leaves the global adapter", () => {
  const { admitted } = admit(expectation, [
    update("c1", 0, GOOD),
    update("c2", 5, { ...GOOD, [B]: [[Number.NaN], [1]] }),
  ]);
  expect(admitted).toEqual([]);
  expect(() => aggregateOnce(fedavg, global, admitted)).toThrow(
    "at least 1 usable updates are wanted, got 0",
  );
});

test.each([
  ["krum", 2, 6, "at least 7 usable updates are wanted, got 6"],
  ["bulyan", 1, 6, "at least 7 usable updates are wanted, got 6"],
])("%s with f = %i refuses %i updates", (name, byzantine, count, message) => {
  const entries = Array.from({ length: count }, (_, k) => update(`c${k}`, 1, GOOD));
  expect(() => aggregateOnce({ name, byzantine }, global, entries)).toThrow(message);
});

test("refuses to trim one half or more", () => {
  for (const beta of [0.5, 0.7]) {
    expect(() => buildStrategy({ name: "trimmed-mean", beta })).toThrow(
      `strategy "trimmed-mean": "beta" must be below 0.5, got ${beta}`,
    );
  }
});

const RUN: RunFacts = {
  quorum: 10,
  rounds: 1,
};

test.each(STRATEGIES.map(({ name }) => name))("%s is checked against what the run asks for", (name) => {
  const { needs } = buildStrategy({ name });
  const check = (facts: Partial<RunFacts>) => () => checkNeeds(name, needs, { ...RUN, ...facts });
  expect(check({})).not.toThrow();
  if (needs.readsSingleUpdates) {
    expect(check({ secureAggregation: true })).toThrow(
      `Cannot run strategy "${name}": it reads single updates, and secure aggregation shows only their sum`,
    );
  } else expect(check({ secureAggregation: true })).not.toThrow();
  if (needs.asynchronous !== true) {
    expect(check({ asynchronous: true })).toThrow("it takes only updates of the current round");
  } else expect(check({ asynchronous: true })).not.toThrow();
  if (needs.heterogeneousRanks !== true) {
    expect(check({ heterogeneousRanks: true })).toThrow("it takes one rank for all clients");
  } else expect(check({ heterogeneousRanks: true })).not.toThrow();
  expect(check({ quorum: needs.minUpdates - 1 })).toThrow(
    `it needs at least ${needs.minUpdates} updates a round, got a quorum of ${needs.minUpdates - 1}`,
  );
});

test("refuses a one-shot strategy for many rounds", () => {
  const { needs } = buildStrategy({ name: "yoco" });
  expect(() => checkNeeds("yoco", needs, { ...RUN, rounds: 25 })).toThrow("it is made for 1 round, got 25");
});

test("refuses a result that overflowed", () => {
  const huge = { [A]: [[1e308, 0, 0]], [B]: [[0], [0]] } as const;
  const built = buildStrategy({ name: "task-arithmetic", lambda: 10 });
  const context = contextOf({
    built,
    state: built.strategy.init(global),
    round: 4,
    global,
    seed: 1,
    totalClients: 2,
  });
  const updates = collectUpdates([update("c1", 1, huge), update("c2", 1, huge)]);
  expect(() => aggregateUpdates(built, built.strategy.init(global), context, updates)).toThrow(
    `Cannot use the result of round 4 with "task-arithmetic": tensor "${A}" is not finite`,
  );
});
