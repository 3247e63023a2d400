/**
 * ScienceQA: problems.json of {"<id>": {question, choices, answer, hint, image, split, subject, topic, ...}}, pictures in
 * images/<split>/<id>/ or <split>/<id>/. The label is the topic.
 *
 * Source: Lu et al. 2022, https://arxiv.org/abs/2209.09513
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { splitOfName } from "../dataset.ts";
import { lettered } from "../prompts/multiple-choice.ts";
import { Collector } from "./collector.ts";
import type { DatasetFormat } from "./format.ts";
import { holds, requireFolder } from "./published.ts";
import { isRow, jsonDocument } from "./text-files.ts";

const FILE = "problems.json";

export const scienceQaFormat: DatasetFormat = {
  name: "science-qa",
  expects: "problems.json, pictures in images/<split>/<id>/",
  recognizes: (place) => holds(place, FILE),
  async read(place, options) {
    const collector = new Collector(options);
    const folder = requireFolder(this.name, place.path, FILE, "scienceqa");
    const file = join(folder, FILE);
    const document = jsonDocument(file, options.problems);
    if (document === undefined) return collector.splits;
    if (!isRow(document)) {
      options.problems.add(file, undefined, "the file must be a JSON object of problems by id");
      return collector.splits;
    }
    for (const [id, problem] of Object.entries(document)) {
      const at = { file, line: undefined };
      const choices = isRow(problem) ? problem.choices : undefined;
      const split = isRow(problem) ? splitOfName(String(problem.split)) : undefined;
      if (
        !isRow(problem) ||
        !isTexts(choices) ||
        typeof problem.question !== "string" ||
        split === undefined
      ) {
        collector.problem(at, `problem "${id}" needs question, choices and split`);
        continue;
      }
      const optionTexts = lettered(choices);
      const answer = optionTexts[Number(problem.answer)];
      if (answer === undefined) {
        collector.problem(at, `the answer of problem "${id}" must be the number of a choice`);
        continue;
      }
      const shown = typeof problem.image === "string" && problem.image !== "" ? problem.image : undefined;
      const inner = join(String(problem.split), id);
      const images = existsSync(join(folder, "images")) ? join(folder, "images", inner) : join(folder, inner);
      const image = shown === undefined ? undefined : collector.media(at, images, shown);
      if (shown !== undefined && image === undefined) continue;
      const hint =
        typeof problem.hint === "string" && problem.hint !== "" ? [`Context: ${problem.hint}`] : [];
      const lines = [
        ...(image === undefined ? [] : ["<image>"]),
        problem.question,
        ...hint,
        "Options:",
        ...optionTexts,
        "Answer with the option's letter and text.",
      ];
      collector.add(split, at, {
        id,
        turns: [
          { role: "user", content: lines.join("\n") },
          { role: "assistant", content: answer },
        ],
        images: image === undefined ? [] : [image],
        audios: [],
        label: String(problem.topic ?? ""),
        options: optionTexts,
        fields: { subject: String(problem.subject ?? ""), topic: String(problem.topic ?? "") },
      });
    }
    return collector.splits;
  },
};

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}
