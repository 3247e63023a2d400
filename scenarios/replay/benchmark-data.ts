/** The benchmark's datasets as a replay sees them: training examples, test examples, partitions and scores. */
import { basename, join } from "node:path";
import { FedloomError } from "../../base/errors.ts";
import { canonicalJson, sha256 } from "../../base/hash.ts";
import { examplesOf } from "../../data/dataset.ts";
import { type Example, MODALITIES, type Modality } from "../../data/example.ts";
import { FLASHCARDS_FILE, VQA_RAD_FILE } from "../../data/formats/medical.ts";
import { requireFolder } from "../../data/formats/published.ts";
import { score } from "../../data/metrics/index.ts";
import { type Answer, truthOf } from "../../data/metrics/metric.ts";
import { openDataset } from "../../data/open-dataset.ts";
import { withKept } from "../../data/prompts/index.ts";
import type { PromptForm } from "../../data/prompts/multiple-choice.ts";
import { examplesOfShard, shardOf } from "../../data/shards.ts";
import { publishedPlan } from "../fedmllm/published-plan.ts";
import { type DatasetName, scenarioNamed } from "../fedmllm/scenario.ts";
import { clientName, type FleetClient, rememberForms } from "../fleet/shards.ts";
import type { Plan } from "../plan.ts";
import type { Setting } from "./cell.ts";

export interface BenchmarkShape {
  /** Folder below the data directory, as the published scripts expect it. */
  readonly folder: string;
  /** Format of data/formats, and the files that it must have: what it could do without, the benchmark cannot. */
  readonly format: string;
  readonly files: readonly string[];
  /** The number that the benchmark reports. */
  readonly main: string;
  /** Metrics that have a table each in the report, the main one first. */
  readonly tables: readonly {
    readonly metric: string;
    readonly title: string;
    /** Whether the report's statements speak of it. */
    readonly told: boolean;
  }[];
  readonly metrics: readonly string[];
}

const SHAPES: Readonly<Record<DatasetName, BenchmarkShape>> = {
  "hateful-memes": {
    folder: "hateful_memes",
    format: "hateful-memes",
    files: ["train.jsonl", "test_seen.jsonl"],
    main: "auc-hard",
    tables: [
      { metric: "auc-hard", title: "AUC of the answers", told: true },
      { metric: "auc", title: "AUC of the options' likelihoods", told: true },
    ],
    metrics: ["auc-hard", "auc", "accuracy"],
  },
  "crisis-mmd": {
    folder: "crisis-mmd",
    format: "crisis-mmd",
    files: ["train", "test"].map((part) => `crisismmd_datasplit_all/task_humanitarian_text_img_${part}.tsv`),
    main: "f1-macro",
    tables: [
      { metric: "f1-macro", title: "macro F1", told: true },
      { metric: "accuracy", title: "accuracy", told: false },
    ],
    metrics: ["f1-macro", "accuracy"],
  },
  medical: {
    folder: "medical",
    format: "fedmllm-medical",
    files: [VQA_RAD_FILE, FLASHCARDS_FILE],
    main: "vqa",
    tables: [
      { metric: "vqa", title: "VQA accuracy", told: true },
      { metric: "slake-vqa", title: "VQA accuracy on the shifted test set", told: false },
    ],
    metrics: ["vqa", "vqa-open", "vqa-closed"],
  },
};

export const shapeOf = (dataset: DatasetName): BenchmarkShape => SHAPES[dataset];

export interface BenchmarkDataset {
  readonly name: DatasetName;
  readonly shape: BenchmarkShape;
  readonly train: readonly Example[];
  /** The same examples at every call, so that a trainer knows them again. @param keep modalities; all where absent */
  test(form: PromptForm, keep?: readonly Modality[]): readonly Example[];
  /** SHA-256 of all words of training and test examples, in order: what a report is comparable by. */
  readonly sha256: string;
  plan(setting: Setting): Plan;
  clients(plan: Plan): FleetClient[];
  /** Metrics in per cent; SLAKE's carry the prefix "slake-". Classes by recall, "recall:NAME". */
  score(examples: readonly Example[], answers: readonly Answer[]): Record<string, number>;
}

const isSlake = ({ id }: Example): boolean => id.startsWith("slake");

/**
 * @param testLimit test examples at most, of each test set
 * @throws FedloomError F2002 that names the file which is not there; what the loader throws for what is in them
 */
export async function openBenchmarkDataset(
  name: DatasetName,
  data: string,
  testLimit: number,
): Promise<BenchmarkDataset> {
  const shape = SHAPES[name];
  const folder = join(data, shape.folder);
  for (const file of shape.files) requireFolder(name, folder, file, shape.folder);
  const dataset = await openDataset(folder, { format: shape.format });
  const train = examplesOf(dataset, "train");
  const heldOut = examplesOf(dataset, "held-out");
  const test = [
    ...heldOut.filter((example) => !isSlake(example)).slice(0, testLimit),
    ...heldOut.filter(isSlake).slice(0, testLimit),
  ];
  const asked = new Map<string, readonly Example[]>();
  return {
    name,
    shape,
    train,
    test(form, keep = MODALITIES) {
      const key = [form, ...keep].join();
      const examples = asked.get(key) ?? test.map((example) => withKept(example, keep, form));
      asked.set(key, examples);
      return examples;
    },
    sha256: fingerprint([...train, ...test]),
    plan: ({ scenario, level }) =>
      publishedPlan({ scenario: scenarioNamed(scenario), dataset: name, level, data: folder }),
    clients: ({ partition }) =>
      partition.clients.map(({ client }, _, { length }) => {
        const shard = rememberForms((form) => ({
          train: examplesOfShard(shardOf(partition, client), train, form),
          heldOut: [],
        }));
        if (shard.train.length === 0) {
          throw new FedloomError(
            "F6010",
            `Cannot replay on ${name}: client ${client} would have no example`,
            { client },
          );
        }
        return { id: clientName(client, length), shard };
      }),
    score: (examples, answers) => scores(shape, examples, answers),
  };
}

/** Pictures count by name: reading a hundred thousand of them would take longer than many a cell. */
function fingerprint(examples: readonly Example[]): string {
  const words = examples.map(({ id, turns, images, options }) => {
    const pictures = images.map(({ name }) => basename(name));
    return canonicalJson([id, turns.map(({ content }) => content), pictures, options ?? []]);
  });
  return sha256(words.join("\n"));
}

function scores(
  { metrics }: BenchmarkShape,
  examples: readonly Example[],
  answers: readonly Answer[],
): Record<string, number> {
  const own = examples.filter((example) => !isSlake(example));
  const shifted = examples.filter(isSlake);
  const part = (which: readonly Example[], prefix: string): [string, number][] =>
    which.length === 0
      ? []
      : Object.entries(score(metrics, which, answers)).map(([name, value]) => [prefix + name, 100 * value]);
  return Object.fromEntries([...part(own, ""), ...part(shifted, "slake-"), ...recalls(own, answers)]);
}

/** Share of each class's examples answered right, in per cent. */
function recalls(examples: readonly Example[], answers: readonly Answer[]): [string, number][] {
  const said = new Map(answers.map(({ id, text }) => [id, text]));
  const byLabel = new Map<string, { right: number; all: number }>();
  for (const example of examples) {
    if (example.label === undefined) continue;
    const tally = byLabel.get(example.label) ?? { right: 0, all: 0 };
    tally.all++;
    if (said.get(example.id)?.trim() === truthOf(example)) tally.right++;
    byLabel.set(example.label, tally);
  }
  return [...byLabel].map(([label, { right, all }]) => [`recall:${label}`, (100 * right) / all]);
}
