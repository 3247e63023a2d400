/** `fedloom partition`: who holds which examples with which modalities, as a file, a table and a picture. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Option } from "commander";
import { FedloomError } from "../base/errors.ts";
import { examplesOf } from "../data/dataset.ts";
import { openDataset } from "../data/open-dataset.ts";
import { PROMPT_FORMS, type PromptForm } from "../data/prompts/multiple-choice.ts";
import { encodePartition } from "../data/shards.ts";
import { cleanPlan, DEAL_NAMES, type Deal } from "../scenarios/clean-plan.ts";
import { publishedPlan } from "../scenarios/fedmllm/published-plan.ts";
import { SCENARIO_NAMES, scenarioNamed } from "../scenarios/fedmllm/scenario.ts";
import type { ModalityMask } from "../scenarios/generators/modalities.ts";
import { pictureOf } from "../scenarios/picture.ts";
import { countsOf, hashOfPlan, type Plan } from "../scenarios/plan.ts";
import { type Cli, type CommonOptions, wholeNumber } from "./cli.ts";
import { table } from "./table.ts";

interface PartitionOptions extends CommonOptions {
  readonly benchmark?: "fedmllm";
  readonly dataset?: string;
  readonly scenario: (typeof SCENARIO_NAMES)[number];
  readonly level?: number;
  readonly clients: number;
  readonly seed?: number;
  readonly data: string;
  readonly out: string;
  readonly mode?: "published" | "clean";
  readonly format: "partition" | "published";
  readonly prompt: PromptForm;
  readonly listing?: number[];
  readonly numpySeed?: number;
  readonly deal: (typeof DEAL_NAMES)[number];
  readonly alpha?: number;
  readonly shardsPerClient: number;
  readonly field: string;
  readonly minPerClient?: number;
}

export function registerPartition(cli: Cli): void {
  cli
    .command("partition", "Write who holds which examples: partition.json, a table and a picture.")
    .requiredOption("--data <dir>", "directory of the raw dataset")
    .requiredOption("--out <dir>", "directory to write to")
    .addOption(
      new Option("--benchmark <name>", "replay a benchmark's published partition").choices(["fedmllm"]),
    )
    .option(
      "--dataset <name>",
      "format of the data (recognized if absent); with --benchmark: hateful-memes, crisis-mmd, medical",
    )
    .addOption(
      new Option("--scenario <name>", "which modalities are kept")
        .choices([...SCENARIO_NAMES])
        .default("aligned"),
    )
    .option("--level <number>", "the scenario's level: alpha, share missing, or image-only clients", decimal)
    .option("--clients <n>", "number of clients", wholeNumber(1), 10)
    .option("--seed <n>", "seed (published: the benchmark's own where absent)", wholeNumber(0))
    .addOption(
      new Option(
        "--mode <mode>",
        "published: as the scripts deal, quirks included; clean: the same idea",
      ).choices(["published", "clean"]),
    )
    .addOption(
      new Option("--format <format>", "published: write the benchmark's own file layout too")
        .choices(["partition", "published"])
        .default("partition"),
    )
    .addOption(
      new Option("--prompt <form>", "wording in the benchmark's files")
        .choices([...PROMPT_FORMS])
        .default("standard"),
    )
    .option(
      "--listing <clients>",
      "published: order in which client files are visited, such as 9,8,7",
      numbers,
    )
    .option("--numpy-seed <n>", "published medical hybrid: the seed that numpy lacked", wholeNumber(0))
    .addOption(
      new Option("--deal <name>", "clean: how examples are dealt")
        .choices([...DEAL_NAMES])
        .default("dirichlet"),
    )
    .option("--alpha <number>", "clean: alpha of dirichlet and quantity (0.5 if absent)", decimal)
    .option("--shards-per-client <n>", "clean: of label-shards", wholeNumber(1), 2)
    .option("--field <name>", "clean: of natural, the field that names the owner", "label")
    .option("--min-per-client <n>", "clean: examples that each client has at least", wholeNumber(0))
    .action(async (options: PartitionOptions) => {
      const plan = await planOf(options);
      const written = write(plan, options);
      const counts = countsOf(plan);
      const data = {
        title: plan.title,
        sha256: hashOfPlan(plan),
        clients: plan.partition.clients.map((shard) => ({
          client: shard.client,
          examples: shard.examples.length,
        })),
        labels: counts.labels,
        files: written,
        notes: plan.notes,
      };
      cli
        .output(options)
        .result("partition/1", data, [
          plan.title,
          "",
          ...tableOf(plan),
          "",
          ...plan.notes.map((note) => `note: ${note}`),
          ...(plan.notes.length > 0 ? [""] : []),
          `sha256 ${data.sha256}`,
          ...written.slice(0, 2).map((file) => `wrote  ${file}`),
          ...(written.length > 2
            ? [
                `wrote  ${written.length - 2} files in the published layout below ${join(options.out, "data")}`,
              ]
            : []),
        ]);
    });
}

async function planOf(options: PartitionOptions): Promise<Plan> {
  const mode = options.mode ?? (options.benchmark === undefined ? "clean" : "published");
  if (mode === "published") {
    if (options.dataset === undefined || options.level === undefined) {
      throw new FedloomError(
        "F1003",
        "Cannot replay the published partition: --dataset and --level are wanted",
        {},
      );
    }
    return publishedPlan({
      scenario: scenarioNamed(options.scenario),
      dataset: options.dataset,
      level: options.level,
      data: options.data,
      clients: options.clients,
      prompt: options.prompt,
      ...(options.seed === undefined ? {} : { seed: options.seed }),
      ...(options.numpySeed === undefined ? {} : { numpySeed: options.numpySeed }),
      ...(options.listing === undefined ? {} : { listing: options.listing }),
    });
  }
  if (options.format === "published") {
    throw new FedloomError(
      "F1003",
      "Cannot write the published file layout of a clean partition: it takes --mode published",
      {},
    );
  }
  const format = options.dataset === "medical" ? "fedmllm-medical" : options.dataset;
  const dataset = await openDataset(options.data, {
    checkMedia: false,
    ...(format === undefined ? {} : { format }),
  });
  return cleanPlan({
    what: options.dataset ?? dataset.format,
    examples: examplesOf(dataset, "train"),
    deal: dealOf(options),
    mask: maskOf(options),
    clients: options.clients,
    seed: options.seed ?? 42,
    ...(options.minPerClient === undefined ? {} : { minPerClient: options.minPerClient }),
  });
}

function dealOf(options: PartitionOptions): Deal {
  // In the aligned scenario the level is alpha, as the benchmark has it.
  const alpha = options.alpha ?? (options.scenario === "aligned" ? options.level : undefined) ?? 0.5;
  switch (options.deal) {
    case "iid":
      return { name: "iid" };
    case "dirichlet":
    case "quantity":
      return { name: options.deal, alpha };
    case "label-shards":
      return { name: "label-shards", shardsPerClient: options.shardsPerClient };
    case "natural":
      return { name: "natural", field: options.field };
    default:
      return options.deal satisfies never;
  }
}

function maskOf(options: PartitionOptions): ModalityMask {
  if (options.scenario === "aligned") return { name: "aligned" };
  if (options.level === undefined) {
    throw new FedloomError("F1003", `Cannot partition by "${options.scenario}": --level is wanted`, {});
  }
  return options.scenario === "cross"
    ? { name: "cross", imageClients: options.level }
    : { name: options.scenario, rate: options.level };
}

/** Writes partition.json and partition.svg, then the published files where asked. @returns their paths */
function write(plan: Plan, options: PartitionOptions): string[] {
  const files = new Map<string, () => string>([
    ["partition.json", () => encodePartition(plan.partition)],
    ["partition.svg", () => pictureOf(plan)],
    ...(options.format === "published" ? plan.publishedFiles : []),
  ]);
  return [...files].map(([name, content]) => {
    const path = join(options.out, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content());
    return path;
  });
}

/** Longest label shown in the table's head; the picture has them whole. */
const LABEL_WIDTH = 14;

/** Client x label, then client x what is kept. */
function tableOf(plan: Plan): string[] {
  const { labels, kinds, clients } = countsOf(plan);
  const shown = labels.slice(0, 10);
  const head = [
    "client",
    "examples",
    ...shown.map((label) => (label.length > LABEL_WIDTH ? `${label.slice(0, LABEL_WIDTH - 1)}…` : label)),
    ...(labels.length > shown.length ? [`${labels.length - shown.length} more`] : []),
    ...kinds,
  ];
  const rows = clients.map((own, client) => {
    const of = (label: string): number =>
      [...(own.get(label)?.values() ?? [])].reduce((sum, n) => sum + n, 0);
    const more = labels.slice(shown.length).reduce((sum, label) => sum + of(label), 0);
    const ofKind = (kind: (typeof kinds)[number]): number =>
      [...own.values()].reduce((sum, byKind) => sum + (byKind.get(kind) ?? 0), 0);
    return [
      client,
      plan.partition.clients[client]!.examples.length,
      ...shown.map(of),
      ...(labels.length > shown.length ? [more] : []),
      ...kinds.map(ofKind),
    ].map(String);
  });
  const total = head.map((_, i) =>
    i === 0 ? "all" : String(rows.reduce((sum, row) => sum + Number(row[i]), 0)),
  );
  return table(
    head.map((title) => ({ title, align: "right" })),
    [...rows, total],
  );
}

function decimal(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) {
    throw new FedloomError("F1003", `Cannot take "${text}": a number is wanted`, { text });
  }
  return value;
}

function numbers(text: string): number[] {
  return text.split(",").map(wholeNumber(0));
}
