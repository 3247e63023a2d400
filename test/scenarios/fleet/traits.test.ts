import { describe, expect, test } from "vitest";
import type { z } from "zod";
import type { Adapter } from "../../../adapters/adapter.ts";
import type { TensorSet } from "../../../adapters/tensor.ts";
import { type RunConfig, runConfig } from "../../../config/run.ts";
import type { Example } from "../../../data/example.ts";
import { clientName, type FleetClient } from "../../../scenarios/fleet/shards.ts";
import { drawTraits } from "../../../scenarios/fleet/traits.ts";
import { withWrongAnswers } from "../../../scenarios/fleet/wrong-answers.ts";
import type { Trainer } from "../../../training/trainer.ts";
import { RUN } from "../../e2e/federation.ts";
import { createToyTrainer } from "../../toy-trainer.ts";
import { runToEnd, toyClients } from "./toy-fleet.ts";

/** A fleet of toy clients runs in well under a second; a machine with many other jobs needs more. */
const TIMEOUT_MS = 60_000;

type Fleet = Partial<NonNullable<z.input<typeof runConfig>["fleet"]>>;
type Input = Partial<z.input<typeof runConfig>>;

const names = (count: number): string[] => Array.from({ length: count }, (_, i) => clientName(i, count));

function configOf(clients: number, fleet: Fleet, more: Input = {}): RunConfig {
  return runConfig.parse({ ...RUN, ...more, fleet: { clients, data: "-", ...fleet } });
}

const all = (count: number): Input => ({ rounds: 1, cohort: { perRound: count, quorum: count } });

/** Runs a fleet and keeps what each client's honest training was handed and gave, and every global adapter. */
async function watched(clients: FleetClient[], fleet: Fleet, more: Input = {}) {
  const trained: { client: string; handed: Adapter; honest: Adapter; examples: readonly Example[] }[] = [];
  const globals: Adapter[] = [];
  const toy = createToyTrainer();
  const trainer: Trainer = {
    ...toy,
    async train(task, examples, control) {
      const result = await toy.train(task, examples, control);
      const client = examples[0]!.id.replace(/-\d+$/, "");
      trained.push({ client, handed: task.adapter, honest: result.adapter, examples });
      return result;
    },
  };
  const input = {
    ...more,
    fleet: { clients: clients.length, data: "-", ...fleet },
    evaluation: { data: "-" },
  };
  const ended = await runToEnd(input, clients, {
    trainer,
    evaluate: async (adapter) => {
      globals.push(adapter);
      return {};
    },
  });
  return { ...ended, trained, globals };
}

/** All numbers of a set, tensor after tensor. */
const flat = (set: TensorSet): number[] => [...set.values()].flatMap(({ data }) => [...data].map(Number));

describe("poisoned clients", () => {
  const clients = () => toyClients(...names(7));
  const oneFlips: Fleet = { poisoned: { clients: 1, kind: "sign-flip", strength: 10 } };
  const poisonedOne = (seed: number): string => {
    const { clients: traits } = drawTraits(configOf(7, oneFlips, { seed }), 7);
    return clientName(
      traits.findIndex(({ poison }) => poison !== undefined),
      7,
    );
  };

  test(
    "one of seven moves the mean by exactly 11/7 of its change, against it",
    async () => {
      const strategy = { name: "fedavg", weights: "uniform" };
      const run = await watched(clients(), oneFlips, { ...all(7), strategy });
      const bad = run.trained.find(({ client }) => client === poisonedOne(RUN.seed!))!;
      const honest = run.trained.map(({ honest: { tensors } }) => flat(tensors));
      const [from, own, global] = [bad.handed, bad.honest, run.globals[0]!].map(({ tensors }) =>
        flat(tensors),
      );
      for (const [i, value] of global!.entries()) {
        const mean = honest.reduce((sum, one) => sum + one[i]!, 0) / 7;
        // It sends g - 10 d in place of g + d: the mean moves by -11 d / 7. Numbers are below 10, float32 keeps 6 digits.
        expect(value).toBeCloseTo(mean - (11 / 7) * (own![i]! - from![i]!), 4);
      }
    },
    TIMEOUT_MS,
  );

  test(
    "the median stays between the honest values, where the mean does not",
    async () => {
      const outside = async (strategy: RunConfig["strategy"]): Promise<number> => {
        const run = await watched(clients(), oneFlips, { ...all(7), strategy });
        const honest = run.trained
          .filter(({ client }) => client !== poisonedOne(RUN.seed!))
          .map(({ honest: { tensors } }) => flat(tensors));
        const slack = 1e-6; // float32 rounding of the result
        return flat(run.globals[0]!.tensors).filter((value, i) => {
          const own = honest.map((one) => one[i]!);
          return value < Math.min(...own) - slack || value > Math.max(...own) + slack;
        }).length;
      };
      expect(await outside({ name: "median" })).toBe(0);
      expect(await outside({ name: "fedavg" })).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );

  test(
    "krum takes an honest update",
    async () => {
      const strategy = { name: "krum", byzantine: 1 };
      const run = await watched(clients(), oneFlips, { ...all(7), strategy });
      const global = flat(run.globals[0]!.tensors);
      const same = run.trained.filter(({ honest: { tensors } }) =>
        flat(tensors).every((value, i) => Math.abs(value - global[i]!) < 1e-6),
      );
      expect(same.map(({ client }) => client)).toHaveLength(1);
      expect(same[0]!.client).not.toBe(poisonedOne(RUN.seed!));
    },
    TIMEOUT_MS,
  );

  test(
    "noise is drawn from the seed: the same run gives the same bits, another seed others",
    async () => {
      const fleet: Fleet = { poisoned: { clients: 2, kind: "noise" } };
      const hash = async (seed: number): Promise<string> =>
        (await watched(clients(), fleet, { ...all(7), seed })).run.global!.model.sha256;
      const [first, again, other] = [await hash(1), await hash(1), await hash(2)];
      expect(first).toBe(again);
      expect(first).not.toBe(other);
    },
    TIMEOUT_MS,
  );
});

describe("wrong answers", () => {
  const options = ["no", "yes", "maybe"];
  const choices = (id: string, count: number): Example[] =>
    Array.from({ length: count }, (_, i) => ({
      id: `${id}-${i}`,
      turns: [
        { role: "user", content: "?" },
        { role: "assistant", content: options[i % 3]! },
      ],
      images: [],
      audios: [],
      options,
    }));
  const asker = (id: string, count = 10): FleetClient => ({
    id,
    shard: { train: choices(id, count), heldOut: choices(`${id}-held`, 3) },
  });
  const answers = (examples: readonly Example[]): string[] =>
    examples.map(({ turns }) => turns.at(-1)!.content);
  const wrong = (examples: readonly Example[]): number =>
    answers(examples).filter((answer, i) => answer !== options[i % 3]).length;

  test(
    "label noise gives each noisy client exactly the share, and the others none",
    async () => {
      const fleet: Fleet = { labelNoise: { rate: 0.3, clients: 2 } };
      const { trained } = await watched(
        names(4).map((id) => asker(id)),
        fleet,
        all(4),
      );
      expect(trained.map(({ examples }) => wrong(examples)).sort()).toEqual([0, 0, 3, 3]);
    },
    TIMEOUT_MS,
  );

  test(
    "without a number of clients label noise falls on all",
    async () => {
      const fleet: Fleet = { labelNoise: { rate: 0.5 } };
      const { trained } = await watched(
        names(3).map((id) => asker(id)),
        fleet,
        all(3),
      );
      expect(trained.map(({ examples }) => wrong(examples))).toEqual([5, 5, 5]);
    },
    TIMEOUT_MS,
  );

  test(
    "a label-flipper has every answer wrong, and sends what it learned from them",
    async () => {
      const fleet: Fleet = { poisoned: { clients: 1, kind: "label-flip" } };
      const { trained } = await watched(
        names(3).map((id) => asker(id)),
        fleet,
        all(3),
      );
      expect(trained.map(({ examples }) => wrong(examples)).sort()).toEqual([0, 0, 10]);
    },
    TIMEOUT_MS,
  );

  test("the same answers are wrong in every wording, and held-out ones stay true", () => {
    const traits = drawTraits(configOf(1, { labelNoise: { rate: 0.5 } }, all(1)), 1).clients[0]!;
    const { shard } = withWrongAnswers(asker("c"), traits, 7);
    const agnostic = shard.worded!("modality-agnostic");
    expect(answers(agnostic.train)).toEqual(answers(shard.train));
    expect(wrong(shard.train)).toBe(5);
    expect(wrong(shard.heldOut)).toBe(0);
    expect(shard.worded!("modality-agnostic").train[0]).toBe(agnostic.train[0]); // made once
  });

  test("examples without options are refused before round 1", async () => {
    await expect(
      runToEnd({ fleet: { clients: 2, data: "-", labelNoise: { rate: 1 } } }, toyClients("a", "b")),
    ).rejects.toThrow(/example "a-0" a wrong label: it needs two or more options/);
  });
});

describe("devices of other ranks", () => {
  const devices = [
    { name: "phone", share: 1, rank: 1 },
    { name: "server", share: 1 },
  ];

  test.each(["flexlora", "hetlora"])(
    "%s hands each client its rank, at the same scale",
    async (name) => {
      const more: Input = { ...all(4), rounds: 2, strategy: { name }, adapter: { rank: 2, alpha: 4 } };
      const { run, trained, globals } = await watched(toyClients(...names(4)), { devices }, more);
      expect(run.phase).toBe("finished");
      // Two phones of rank 1, two servers of the toy adapter's rank 2; alpha / r is 2 for all.
      const ranks = trained.slice(0, 4).map(({ handed: { config } }) => [config.rank, config.alpha]);
      expect(ranks.sort()).toEqual([
        [1, 2],
        [1, 2],
        [2, 4],
        [2, 4],
      ]);
      for (const { handed } of trained) {
        const shapes = [...handed.tensors.values()].map(({ shape }) => Math.min(...shape));
        expect(new Set(shapes)).toEqual(new Set([handed.config.rank]));
      }
      expect(globals.map(({ config }) => config.rank)).toEqual([2, 2]);
    },
    TIMEOUT_MS,
  );

  test("a strategy for one rank refuses the run before round 1", async () => {
    const more: Input = { adapter: { rank: 2 }, strategy: { name: "fedavg" } };
    await expect(watched(toyClients("a", "b"), { devices }, more)).rejects.toThrow(
      /Cannot run strategy "fedavg": it takes one rank for all clients/,
    );
  });

  test("a rank above the run's is refused, and so is a codec that counts from the global adapter", () => {
    const high = [{ name: "server", share: 1, rank: 16 }];
    expect(() => configOf(2, { devices: high })).toThrow("must be at most adapter.rank, which is 8, got 16");
    expect(() => configOf(2, { devices }, { codec: "int8" })).toThrow('the codec must be \\"fp32\\"');
  });

  test(
    "a rank above that of an adapter read from disk fails those clients by name",
    async () => {
      // The toy trainer's adapter has rank 2 whatever is asked for, as an adapter of `adapter.from` would.
      const four = [{ name: "server", share: 1, rank: 4 }];
      const { run } = await watched(
        toyClients("a", "b"),
        { devices: four },
        { strategy: { name: "hetlora" } },
      );
      expect(run.stopped?.reason).toContain(
        "Cannot train at rank 4: the adapter that is handed out has rank 2",
      );
    },
    TIMEOUT_MS,
  );
});

describe("availability", () => {
  const fleet: Fleet = { availability: { away: 0.4, stay: 0.5 } };
  const more: Input = { rounds: 8, cohort: { perRound: 4, quorum: 1 } };

  test(
    "who is away is not drawn, and the round goes on with those who are there",
    async () => {
      const { isAway } = drawTraits(configOf(6, fleet, more), 6);
      const { rounds } = await watched(toyClients(...names(6)), fleet, more);
      const wanted = rounds.map(({ round }) => names(6).filter((_, client) => !isAway(round, client)).length);
      expect(rounds.map(({ ok }) => ok)).toEqual(wanted.map((there) => Math.min(4, there)));
      expect(Math.min(...wanted)).toBeLessThan(4); // else this shows nothing
      for (const { round, clients } of rounds) {
        for (const { client } of clients) expect(isAway(round, names(6).indexOf(client))).toBe(false);
      }
    },
    TIMEOUT_MS,
  );

  test("a round that would lack its quorum is refused before round 1, with its number", () => {
    const strict = configOf(4, { availability: { away: 0.9, stay: 0.95 } }, { rounds: 20 });
    expect(() => drawTraits(strict, 4)).toThrow(
      /round \d+ would have [01] of 4 clients with seed 7, its quorum is 2/,
    );
  });

  test("absences do not move when stragglers are added", () => {
    const away = (given: Fleet): boolean[] => {
      const { isAway } = drawTraits(configOf(9, given, more), 9);
      return Array.from({ length: 72 }, (_, i) => isAway(1 + (i % 8), Math.floor(i / 8)));
    };
    expect(away({ ...fleet, stragglers: { share: 0.5, slowness: 9, patience: 2 } })).toEqual(away(fleet));
  });
});

describe("stragglers", () => {
  test(
    "a device that is too slow misses every deadline by name, and nobody waits",
    async () => {
      const devices = [
        { name: "phone", share: 1, slowness: 6 },
        { name: "server", share: 1, slowness: 1.5 },
      ];
      const more: Input = { rounds: 3, cohort: { perRound: 4, quorum: 2 } };
      const { rounds, trained } = await watched(
        toyClients(...names(4)),
        { devices, stragglers: { patience: 3 } },
        more,
      );
      // A phone takes 6 / 1.5 = 4 times the fastest device's time.
      const failure = {
        phase: "deadline",
        code: "F6013",
        message: expect.stringContaining(
          `in time on a "phone": training takes 4 times the fastest device's time, the round waits 3 times`,
        ),
      };
      for (const { ok, failures } of rounds) {
        expect(ok).toBe(2);
        expect(failures).toEqual([expect.objectContaining(failure), expect.objectContaining(failure)]);
      }
      expect(trained).toHaveLength(6); // the servers only
    },
    TIMEOUT_MS,
  );

  test(
    "slow rounds come by chance, from the seed",
    async () => {
      const fleet: Fleet = { stragglers: { share: 0.3, slowness: 5, patience: 2 } };
      const more: Input = { rounds: 6, cohort: { perRound: 5, quorum: 1 } };
      const failed = async (seed: number): Promise<string[]> => {
        const { rounds } = await watched(toyClients(...names(5)), fleet, { ...more, seed });
        return rounds.flatMap(({ round, failures }) => failures.map(({ client }) => `${round} ${client}`));
      };
      const [first, again, other] = [await failed(3), await failed(3), await failed(4)];
      expect(first).toEqual(again);
      expect(first).not.toEqual(other);
      // Of 30 tasks 9 are expected, with std sqrt(30·0.3·0.7) = 2.5.
      expect(first.length).toBeGreaterThan(1);
      expect(first.length).toBeLessThan(20);
    },
    TIMEOUT_MS,
  );
});

test.each([
  [{ labelNoise: { rate: 1.2 } }, "rate"],
  [{ labelNoise: { rate: 0.2, clients: 3 } }, "must be at most fleet.clients, which is 2, got 3"],
  [{ poisoned: { clients: 3, kind: "noise" } }, "must be at most fleet.clients, which is 2, got 3"],
  [{ availability: { away: 1 } }, "away"],
  [{ stragglers: { share: 0.5 } }, "patience"],
] as const)("a fleet with %o is refused", (fleet, said) => {
  expect(() => configOf(2, fleet as Fleet)).toThrow(said);
});

test("a configuration that was resolved resolves to itself", () => {
  const config = configOf(3, {
    labelNoise: { rate: 0.1 },
    devices: [{ name: "phone", share: 1 }],
    availability: { away: 0.1 },
    stragglers: { patience: 2 },
    poisoned: { clients: 1, kind: "scale" },
  });
  expect(runConfig.parse(config)).toEqual(config);
});
