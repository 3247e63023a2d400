/**
 * IconQA: {train,val,test}/{choose_txt,choose_img,fill_in_blank}/<id>/ with data.json and image.png; choices of choose_img are
 * pictures in the same folder. The label is the kind of question.
 *
 * Source: Lu et al. 2021, https://arxiv.org/abs/2110.13214
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { splitOfName } from "../dataset.ts";
import type { Example, Media } from "../example.ts";
import { lettered } from "../prompts/multiple-choice.ts";
import { Collector } from "./collector.ts";
import type { DatasetFormat } from "./format.ts";
import { isRow, jsonDocument, type Row } from "./text-files.ts";

const KINDS = ["choose_txt", "choose_img", "fill_in_blank"] as const;
type Kind = (typeof KINDS)[number];

const rootOf = (path: string): string | undefined =>
  ["", "iconqa", join("iconqa_data", "iconqa")]
    .map((below) => join(path, below))
    .find((root) => KINDS.some((kind) => existsSync(join(root, "train", kind))));

export const iconQaFormat: DatasetFormat = {
  name: "icon-qa",
  expects: `{train,val,test}/{${KINDS.join(",")}}/<id>/ with data.json and image.png`,
  recognizes: (place) => !place.isFile && rootOf(place.path) !== undefined,
  async read(place, options) {
    const collector = new Collector(options);
    const root = rootOf(place.path) ?? place.path;
    for (const part of ["train", "val", "test"]) {
      for (const kind of KINDS) {
        const folder = join(root, part, kind);
        if (!existsSync(folder)) continue;
        for (const id of readdirSync(folder).sort((a, b) => a.localeCompare(b, "en", { numeric: true }))) {
          const file = join(folder, id, "data.json");
          if (!existsSync(file)) continue;
          const data = jsonDocument(file, options.problems);
          const example = isRow(data)
            ? exampleOf(`${kind}:${id}`, kind, data, join(folder, id), collector)
            : undefined;
          if (example !== undefined) collector.add(splitOfName(part)!, { file, line: undefined }, example);
        }
      }
    }
    return collector.splits;
  },
};

function exampleOf(
  id: string,
  kind: Kind,
  data: Row,
  folder: string,
  collector: Collector,
): Example | undefined {
  const at = { file: join(folder, "data.json"), line: undefined };
  if (typeof data.question !== "string") {
    collector.problem(at, '"question" must be text');
    return undefined;
  }
  const names: string[] = Array.isArray(data.choices) ? data.choices.map(String) : [];
  const pictures = kind === "choose_img" ? names : [];
  const images = ["image.png", ...pictures].map((name) => collector.media(at, folder, name));
  if (!images.every((image): image is Media => image !== undefined)) return undefined;
  const choices = kind === "choose_img" ? lettered(names.map(() => "<image>")) : lettered(names);
  const optionTexts =
    kind === "choose_img" ? names.map((_, i) => `(${String.fromCharCode(65 + i)})`) : choices;
  const answer = kind === "fill_in_blank" ? String(data.answer ?? "") : optionTexts[Number(data.answer)];
  if (answer === undefined || answer === "") {
    collector.problem(at, `"answer" must be ${kind === "fill_in_blank" ? "text" : "the number of a choice"}`);
    return undefined;
  }
  const asked = kind === "fill_in_blank" ? [] : ["Options:", ...choices, "Answer with the option."];
  return {
    id,
    turns: [
      { role: "user", content: ["<image>", data.question, ...asked].join("\n") },
      { role: "assistant", content: answer },
    ],
    images,
    audios: [],
    label: kind,
    ...(kind === "fill_in_blank" ? {} : { options: optionTexts }),
  };
}
