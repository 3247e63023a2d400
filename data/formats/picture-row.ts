/** A picture with a caption or a class becomes a question and its answer. */
import type { Example } from "../example.ts";
import type { Collector, RowPlace } from "./collector.ts";
import { kindOf, type Row } from "./text-files.ts";

/** @param classes names of all classes, where the folder or the file tells them */
export function exampleOfPicture(
  row: Row,
  at: RowPlace,
  setting: { id: string; folder: string },
  collector: Collector,
  classes: readonly string[] | undefined,
): Example | undefined {
  const image = collector.media(at, setting.folder, row.image ?? row.file_name);
  if (image === undefined) return undefined;
  const id = typeof row.id === "string" || typeof row.id === "number" ? String(row.id) : setting.id;
  const base = { id, images: [image], audios: [] };
  const caption = row.text ?? row.caption;
  if (typeof caption === "string") {
    return {
      ...base,
      turns: [
        { role: "user", content: "<image>\nDescribe the picture." },
        { role: "assistant", content: caption },
      ],
    };
  }
  if (typeof row.label !== "string" && typeof row.label !== "number" && typeof row.label !== "bigint") {
    collector.problem(
      at,
      `a picture needs "text", "label" or a question and an answer, got a label that is ${kindOf(row.label)}`,
    );
    return undefined;
  }
  const label = classes?.[Number(row.label)] ?? String(row.label);
  const asked = classes === undefined ? "" : `\nOptions:\n${classes.join("\n")}`;
  return {
    ...base,
    turns: [
      { role: "user", content: `<image>\nWhich class does the picture belong to?${asked}` },
      { role: "assistant", content: label },
    ],
    label,
    ...(classes === undefined ? {} : { options: classes }),
  };
}
