/** `fedloom data`: what a dataset directory holds and what is broken in it. */
import sharp from "sharp";
import { messageOf } from "../base/errors.ts";
import { type Problem, problemText, SPLITS } from "../data/dataset.ts";
import { type Example, type Modality, modalitiesOf } from "../data/example.ts";
import { openDataset } from "../data/open-dataset.ts";
import { type Cli, type CommonOptions, wholeNumber } from "./cli.ts";
import { registerDataMake } from "./data-make.ts";
import { table } from "./table.ts";

interface InspectOptions extends CommonOptions {
  readonly format?: string;
  readonly show: number;
  readonly decode?: boolean;
}

/** Problems that are printed; all are counted. */
const MOST_PROBLEMS = 10;

export function registerData(cli: Cli): void {
  const data = cli.program.command("data").description("Look at datasets, and make procedural ones.");
  cli
    .command(
      "inspect <dir>",
      "Show a dataset's format, counts, modalities, labels, and what is broken.",
      data,
    )
    .option("--format <name>", "read it as this format (recognized if absent)")
    .option("--decode", "read and decode every picture, to find broken ones")
    .option("--show <n>", "examples to print", wholeNumber(0), 3)
    .action(async (dir: string, options: InspectOptions) => {
      const format = options.format === undefined ? {} : { format: options.format };
      // Examples whose media are not there still count; what is missing is told below.
      const dataset = await openDataset(dir, { ...format, onProblem: "collect", checkMedia: false });
      const whole = await openDataset(dir, { ...format, onProblem: "collect" });
      const broken = options.decode === true ? await brokenPictures([...whole.splits.values()].flat()) : [];
      const problems = [...whole.problems, ...broken];
      const splits = SPLITS.filter((split) => dataset.splits.has(split)).map((split) => ({
        split,
        ...summaryOf(dataset.splits.get(split)!),
      }));
      const shown = (dataset.splits.get("train") ?? [...dataset.splits.values()][0] ?? []).slice(
        0,
        options.show,
      );
      cli
        .output(options)
        .result("data-inspect/1", { format: dataset.format, root: dataset.root, splits, problems }, [
          `${dataset.root}: ${dataset.format}`,
          "",
          ...table(
            [
              { title: "split" },
              ...COLUMNS.map((title) => ({ title, align: "right" as const })),
              { title: "labels" },
            ],
            splits.map(({ split, examples, modalities, labels }) => [
              split,
              String(examples),
              ...COLUMNS.slice(1).map((kind) => String(modalities[kind] ?? 0)),
              labelsLine(labels),
            ]),
          ),
          ...shown.flatMap((example) => ["", ...exampleLines(example)]),
          ...problemLines(problems),
        ]);
      if (problems.length > 0) cli.exitCode = 8;
    });
  registerDataMake(cli, data);
}

/** Pictures that cannot be decoded, one problem each. */
async function brokenPictures(examples: readonly Example[]): Promise<Problem[]> {
  const problems: Problem[] = [];
  for (const image of examples.flatMap((example) => example.images)) {
    try {
      await sharp(await image.read()).stats();
    } catch (error) {
      problems.push({
        code: "F2001",
        file: image.name,
        message: `the picture cannot be decoded: ${messageOf(error)}`,
      });
    }
  }
  return problems;
}

const COLUMNS = ["examples", "text", "image", "text + image", "audio"] as const;

interface Summary {
  readonly examples: number;
  /** Examples by what they carry; "text" means text only. */
  readonly modalities: Readonly<Record<string, number>>;
  readonly labels: Readonly<Record<string, number>>;
}

function summaryOf(examples: readonly Example[]): Summary {
  const modalities: Record<string, number> = {};
  const labels: Record<string, number> = {};
  for (const example of examples) {
    const kind = kindOf(modalitiesOf(example));
    modalities[kind] = (modalities[kind] ?? 0) + 1;
    if (example.label !== undefined) labels[example.label] = (labels[example.label] ?? 0) + 1;
  }
  return { examples: examples.length, modalities, labels };
}

function kindOf(modalities: readonly Modality[]): string {
  if (modalities.includes("audio")) return "audio";
  if (modalities.includes("image")) return modalities.includes("text") ? "text + image" : "image";
  return "text";
}

function labelsLine(labels: Readonly<Record<string, number>>): string {
  const sorted = Object.entries(labels).sort(([, a], [, b]) => b - a);
  const named = sorted.slice(0, 6).map(([label, count]) => `${label} ${count}`);
  return [...named, ...(sorted.length > 6 ? [`${sorted.length - 6} more`] : [])].join(", ");
}

function exampleLines(example: Example): string[] {
  const media = [...example.images, ...example.audios].map((medium) => `  has ${medium.name}`);
  const turns = example.turns.map((turn) => `  ${turn.role}: ${oneLine(turn.content)}`);
  return [
    `example "${example.id}"${example.label === undefined ? "" : `, label ${example.label}`}`,
    ...media,
    ...turns,
  ];
}

function oneLine(text: string): string {
  const flat = text.replaceAll("\n", " ⏎ ");
  return flat.length > 160 ? `${flat.slice(0, 159)}…` : flat;
}

function problemLines(problems: readonly Problem[]): string[] {
  if (problems.length === 0) return ["", "No problems."];
  const shown = problems
    .slice(0, MOST_PROBLEMS)
    .map((problem) => `  ${problemText(problem)} (${problem.code})`);
  const more = problems.length - shown.length;
  return [
    "",
    `${problems.length} problem${problems.length === 1 ? "" : "s"}:`,
    ...shown,
    ...(more > 0 ? [`  and ${more} more`] : []),
  ];
}
