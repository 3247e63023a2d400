/**
 * ScienceQA: problems.json of {"<id>": {question, choices, answer, hint, image, split, subject, topic, ...}}, pictures
 * in images/<split>/<id>/ or <split>/<id>/. The label is the topic.
 *
 * Source: Lu et al. 2022, https://arxiv.org/abs/2209.09513
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { splitOfName } from "../dataset.ts";
import type { Example } from "../example.ts";
import { lettered } from "../prompts/multiple-choice.ts";
import { Collector, type RowPlace } from "./collector.ts";
import type { DatasetFormat } from "./format.ts";
import { holds, requireFolder } from "./published.ts";
import { isRow, jsonDocument } from "./text-files.ts";

const FILE = "problems.json";

const problemSchema = z.object({
  question: z.string(),
  choices: z.array(z.string()).min(1),
  answer: z.int().min(0),
  hint: z.string().default(""),
  image: z.string().nullish(),
  split: z.enum(["train", "val", "test", "minival", "minitest"]),
  subject: z.string().default(""),
  topic: z.string().default(""),
});

export const scienceQaFormat: DatasetFormat = {
  name: "science-qa",
  expects: "problems.json, pictures in images/<split>/<id>/",
  recognizes: (place) => holds(place, FILE),
  async read(place, options) {
    const collector = new Collector(options);
    const folder = requireFolder(this.name, place.path, FILE, "scienceqa");
    const file = join(folder, FILE);
    const document = jsonDocument(file, options.problems);
    if (document !== undefined && !isRow(document)) {
      options.problems.add(file, undefined, "the file must be a JSON object of problems by id");
    }
    for (const [id, value] of Object.entries(isRow(document) ? document : {})) {
      const at = { file, line: undefined };
      const parsed = problemSchema.safeParse(value);
      if (!parsed.success) {
        const issue = parsed.error.issues[0]!;
        collector.problem(at, `problem "${id}": ${issue.path.join(".")}: ${issue.message}`);
        continue;
      }
      const example = exampleOf(id, parsed.data, at, folder, collector);
      if (example !== undefined) collector.add(splitOfName(parsed.data.split) ?? "validation", at, example);
    }
    return collector.splits;
  },
};

function exampleOf(
  id: string,
  problem: z.output<typeof problemSchema>,
  at: RowPlace,
  folder: string,
  collector: Collector,
): Example | undefined {
  const options = lettered(problem.choices);
  const answer = options[problem.answer];
  if (answer === undefined) {
    collector.problem(
      at,
      `the answer of problem "${id}" must be the number of a choice, got ${problem.answer}`,
    );
    return undefined;
  }
  const root = existsSync(join(folder, "images")) ? join(folder, "images") : folder;
  const image = problem.image ? collector.media(at, join(root, problem.split, id), problem.image) : null;
  if (image === undefined) return undefined;
  const lines = [
    ...(image === null ? [] : ["<image>"]),
    problem.question,
    ...(problem.hint === "" ? [] : [`Context: ${problem.hint}`]),
    "Options:",
    ...options,
    "Answer with the option's letter and text.",
  ];
  return {
    id,
    turns: [
      { role: "user", content: lines.join("\n") },
      { role: "assistant", content: answer },
    ],
    images: image === null ? [] : [image],
    audios: [],
    label: problem.topic,
    options,
    fields: { subject: problem.subject, topic: problem.topic },
  };
}
