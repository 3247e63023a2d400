/**
 * What a replay runs, in three sizes. A dataset's protocol, its data and the model are the frozen part of the benchmark:
 * their hash stands in the report, and numbers of reports with the same hash may be compared.
 */
import type { z } from "zod";
import { FedloomError } from "../../base/errors.ts";
import { canonicalJson, sha256 } from "../../base/hash.ts";
import type { trainingOptions } from "../../config/training.ts";
import type { Profile as StandinProfile } from "../../data/standins/standin.ts";
import { type DatasetName, SCENARIO_NAMES, scenarioNamed } from "../fedmllm/scenario.ts";
import { type Cell, cellId, type Setting } from "./cell.ts";
import { methodNamed } from "./methods.ts";

/** How one dataset is trained and scored. */
export interface Protocol {
  readonly rounds: number;
  readonly perRound: number;
  readonly clients: number;
  /** Optimizer steps of a client in a round; "epoch": once through its examples. */
  readonly localSteps: number | "epoch";
  /** Rows of an optimizer step. */
  readonly batch: number;
  /** Rows that run at a time; the batch where absent. */
  readonly microBatch?: number;
  readonly learningRate: number;
  /** Further training options that differ from the defaults. */
  readonly training?: Readonly<Partial<z.input<typeof trainingOptions>>>;
  readonly adapter: { readonly rank: number; readonly alpha: number; readonly targets: readonly string[] };
  /** Test examples scored at most, in the order of the files. */
  readonly testLimit: number;
  /** The reported number is the mean over this many last rounds: a single last round is luck (one skewed pair of clients). */
  readonly lastRounds: number;
}

export interface ReplayProfile {
  readonly name: string;
  readonly about: string;
  readonly data: StandinProfile;
  readonly seeds: readonly number[];
  readonly protocols: Protocols;
  /** In place of `protocols` for a model that is not the embedded one: pretrained models want small steps. */
  readonly forLargeModels: Protocols;
  readonly cells: readonly Cell[];
}

export type Protocols = Readonly<Record<DatasetName, Protocol>>;

const ALL_SETTINGS: readonly Setting[] = SCENARIO_NAMES.flatMap((scenario) =>
  scenarioNamed(scenario).level.published.map((level) => ({ scenario, level })),
);

function settingsOf(dataset: DatasetName, settings: readonly Setting[]): readonly Setting[] {
  return settings.filter(({ scenario }) => scenarioNamed(scenario).datasets[dataset] !== undefined);
}

/** Methods that see no partition have one cell a dataset and seed. */
function cellsOf(
  datasets: readonly DatasetName[],
  settings: readonly Setting[],
  methods: readonly string[],
  seeds: readonly number[],
): Cell[] {
  return seeds.flatMap((seed) =>
    datasets.flatMap((dataset) =>
      methods.flatMap((method): Cell[] => {
        const { kind } = methodNamed(method);
        if (kind === "zero-shot" || kind === "centralized") return [{ dataset, method, seed }];
        return settingsOf(dataset, settings).map((setting) => ({ dataset, setting, method, seed }));
      }),
    ),
  );
}

/** The published targets. */
const QKVO = ["q_proj", "k_proj", "v_proj", "o_proj"];
/** Ten clients, two a round, as published; the last rounds are averaged, since one round's pair may be skewed. */
const shared = {
  clients: 10,
  perRound: 2,
  // All layers of the decoder: on q, k, v and o alone the embedded model hardly learns eight classes.
  adapter: { rank: 8, alpha: 16, targets: [...QKVO, "gate_proj", "up_proj", "down_proj"] },
  lastRounds: 3,
} as const;

/**
 * Tuned by FedAvg and local-only training on a few cells, seed 0, and equal for all methods of a dataset: rates at which
 * aligned data are learned together, and not yet by every client alone.
 */
const SMALL: Protocols = {
  "hateful-memes": { ...shared, rounds: 10, localSteps: 5, batch: 16, learningRate: 1e-3, testLimit: 200 },
  "crisis-mmd": { ...shared, rounds: 30, localSteps: 10, batch: 8, learningRate: 5e-3, testLimit: 200 },
  medical: { ...shared, rounds: 10, localSteps: 5, batch: 16, learningRate: 3e-3, testLimit: 150 },
};
/** The published numbers of rounds; ten steps a round stand in for an epoch of ten clients' data. */
const LONG: Protocols = {
  "hateful-memes": { ...SMALL["hateful-memes"], rounds: 25, localSteps: 10, testLimit: 1000, lastRounds: 5 },
  "crisis-mmd": { ...SMALL["crisis-mmd"], rounds: 40, testLimit: 955, lastRounds: 5 },
  medical: { ...SMALL.medical, rounds: 50, localSteps: 10, testLimit: 1061, lastRounds: 5 },
};

const each = (change: (protocol: Protocol) => Protocol, of: Protocols): Protocols => ({
  "hateful-memes": change(of["hateful-memes"]),
  "crisis-mmd": change(of["crisis-mmd"]),
  medical: change(of.medical),
});
/** As the benchmark trained: one epoch a round, four rows a step, one at a time. */
const PUBLISHED = each(
  (protocol) => ({
    ...protocol,
    adapter: { rank: 8, alpha: 8, targets: QKVO },
    localSteps: "epoch",
    batch: 4,
    microBatch: 1,
    learningRate: 2e-5,
    training: { lr_scheduler_type: "cosine", warmup_ratio: 0.01, weight_decay: 0.1, max_length: 2048 },
  }),
  LONG,
);
/** Few steps, so larger ones than published: to see that data and model work, and which way things lean. */
const SHORT = each(
  (protocol) => ({
    ...protocol,
    adapter: { ...protocol.adapter, targets: QKVO },
    batch: 4,
    microBatch: 1,
    learningRate: 2e-4,
    training: { max_length: 2048 },
    testLimit: 100,
  }),
  SMALL,
);

const DATASETS: readonly DatasetName[] = ["hateful-memes", "crisis-mmd", "medical"];
const BASELINES = ["zero-shot", "local", "centralized"];
/** That the task wants both modalities. */
const PROOF = ["centralized", "centralized-text", "centralized-image"];
const MAIN = ["fedavg", "fedyogi"];
const COMPARED = [...MAIN, "mean", "fedavgm", "fedadagrad", "fedadam"];
/** Where modalities are missing, one level a scenario. */
const LACKING: readonly Setting[] = [
  { scenario: "missing", level: 0.5 },
  { scenario: "cross", level: 5 },
  { scenario: "hybrid", level: 0.3 },
];
const ALIGNED: Setting = { scenario: "aligned", level: 0.5 };
const STRATEGIES = ["fedavg", "fedavg+prompt", "fedavg+adaptive", "fedavg-wide", "ownership"];
const withForms = (name: string): string[] => [name, `${name}+prompt`, `${name}+adaptive`, `${name}+both`];

export const PROFILES: readonly ReplayProfile[] = [
  {
    name: "quick",
    about: "a few cells of every dataset, one seed: to see that it works and which way things lean",
    data: "quick",
    seeds: [0],
    protocols: SMALL,
    forLargeModels: SHORT,
    cells: onlyOnce([
      ...cellsOf(["hateful-memes"], [ALIGNED, ...LACKING], [...BASELINES, ...PROOF, ...MAIN], [0]),
      ...cellsOf(["hateful-memes"], [LACKING[0]!], STRATEGIES, [0]),
      ...cellsOf(["crisis-mmd"], [ALIGNED, LACKING[0]!], [...BASELINES, ...MAIN], [0]),
      ...cellsOf(["medical"], LACKING, [...BASELINES, ...MAIN], [0]),
    ]),
  },
  {
    name: "standard",
    about:
      "all thirty cells with the main methods; three seeds for the modality-agnostic strategies and what they are measured against, on the meme-like set",
    data: "standard",
    seeds: [0, 1, 2],
    protocols: SMALL,
    forLargeModels: SHORT,
    cells: onlyOnce([
      ...cellsOf(["hateful-memes"], [], PROOF, [0, 1, 2]),
      ...cellsOf(["hateful-memes"], LACKING, STRATEGIES, [0, 1, 2]),
      ...cellsOf(["hateful-memes"], [ALIGNED], ["local", "fedavg"], [0, 1, 2]),
      ...cellsOf(["hateful-memes"], ALL_SETTINGS, [...BASELINES, ...MAIN], [0]),
      ...cellsOf(["hateful-memes"], [ALIGNED, ...LACKING], [...COMPARED, "fedyogi-scaled"], [0]),
      ...cellsOf(["crisis-mmd"], ALL_SETTINGS, [...BASELINES, ...MAIN], [0]),
      ...cellsOf(["crisis-mmd"], [ALIGNED, LACKING[0]!], ["mean", "fedavgm", "fedyogi-scaled"], [0]),
      ...cellsOf(["crisis-mmd"], [LACKING[0]!], ["fedavg+prompt", "fedavg+adaptive"], [0]),
      ...cellsOf(["medical"], ALL_SETTINGS, [...BASELINES, ...MAIN], [0]),
      ...cellsOf(["medical"], LACKING, COMPARED, [0]),
    ]),
  },
  {
    name: "full",
    about: "the published numbers of rounds, all methods with and without the two strategies, three seeds",
    data: "full",
    seeds: [0, 1, 2],
    protocols: LONG,
    forLargeModels: PUBLISHED,
    cells: onlyOnce([
      ...cellsOf(["hateful-memes"], [], PROOF, [0, 1, 2]),
      ...cellsOf(
        DATASETS,
        ALL_SETTINGS,
        [
          ...BASELINES,
          ...[...COMPARED, "fedprox"].flatMap(withForms),
          ...["fedavg+published", "fedadagrad-scaled", "fedadam-scaled", "fedyogi-scaled"],
          ...["fedavg-wide", "ownership", "fisher", "yoco", "one-shot-mean"],
          ...["ffa-lora", "flexlora", "fedex-lora", "lora-fair"],
        ],
        [0, 1, 2],
      ),
    ]),
  },
];

function onlyOnce(cells: readonly Cell[]): Cell[] {
  return [...new Map(cells.map((cell) => [cellId(cell), cell])).values()];
}

/** @throws FedloomError F6022 naming the known ones */
export function profileNamed(name: string): ReplayProfile {
  const profile = PROFILES.find((known) => known.name === name);
  if (profile !== undefined) return profile;
  const known = PROFILES.map((one) => one.name);
  throw new FedloomError("F6022", `Cannot replay profile "${name}": known are ${known.join(", ")}`, {
    name,
    known,
  });
}

/** SHA-256 of all that decides the numbers of a dataset but method and machine: protocol, data, model. */
export function frozenHash(
  dataset: DatasetName,
  protocol: Protocol,
  dataHashes: readonly string[],
  baseHash: string,
): string {
  return sha256(canonicalJson({ dataset, protocol, dataHashes, baseHash }));
}

/** The same with what the method changes: a finished cell of another hash is not this cell's. */
export function cellHash(frozen: string, name: string): string {
  const { title: _, base: __, published: ___, ...method } = methodNamed(name);
  return sha256(canonicalJson({ frozen, method }));
}
