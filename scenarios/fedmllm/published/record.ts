/** The training records that the published scripts write, byte for byte. */
import type { PublishedRow } from "../../../data/formats/published-rows.ts";
import type { Kept, PromptForm } from "../../../data/prompts/multiple-choice.ts";
import { dumpPythonJson, type PyObject, type PyValue } from "../../../data/python/json.ts";
import type { PublishedTask } from "./task.ts";

/** The authors' placeholder; users of the original scripts replace it by their own directory. */
export const IMAGE_ROOT = "/path/to/training_data/data";

export function record(id: PyValue, image: PyValue, user: string, assistant: string | undefined): PyObject {
  // A label outside the classes leaves the assistant's turn without content, as published.
  const answer: [string, PyValue][] = assistant === undefined ? [] : [["content", assistant]];
  return new Map<string, PyValue>([
    ["id", id],
    ["image", image],
    [
      "conversations",
      [
        new Map<string, PyValue>([
          ["role", "user"],
          ["content", user],
        ]),
        new Map<string, PyValue>([["role", "assistant"], ...answer]),
      ],
    ],
  ]);
}

export function classificationRecord(
  task: PublishedTask,
  row: PublishedRow,
  kept: Kept,
  form: PromptForm,
): PyObject {
  const image = kept.image ? `${IMAGE_ROOT}/${task.folder}/raw_data/${task.image(row)}` : null;
  const text = kept.text ? task.text(row) : "";
  return record(task.id(row), image, task.template.prompt(text, kept, form), task.answer(row));
}

/** The bytes of a client's file of records. */
export function encodeRecords(records: readonly PyObject[]): string {
  return dumpPythonJson([...records], { ascii: false, indent: 4 });
}
