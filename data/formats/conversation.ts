/**
 * One row of a conversation dataset to one example, whatever the row's shape:
 *
 *   messages [{role, content}]        TRL, ms-swift; content is text or parts {type: text | image | audio}
 *   conversations [{from, value}]     ShareGPT, LLaVA
 *   prompt + completion, query + response, question + answer, instruction (+ input) + output
 *   question + options + answer       the answer is the number of an option, as hub datasets of choices have it
 *
 * beside them: images / image, audios / audio, id, label, options / choices, system.
 */
import type { Example, Media, Turn } from "../example.ts";
import { MARK } from "../example.ts";
import { lettered } from "../prompts/multiple-choice.ts";
import type { Collector, RowPlace } from "./collector.ts";
import { isRow, kindOf, type Row } from "./text-files.ts";

/** Which columns and words to read, where a dataset_info.json says otherwise than usual. */
export interface Columns {
  readonly messages?: string;
  readonly images?: string;
  readonly audios?: string;
  readonly prompt?: string;
  readonly query?: string;
  readonly response?: string;
  readonly system?: string;
  readonly roleTag?: string;
  readonly contentTag?: string;
  readonly userTag?: string;
  readonly assistantTag?: string;
  readonly systemTag?: string;
}

const ROLES: Readonly<Record<string, Turn["role"]>> = {
  system: "system",
  user: "user",
  human: "user",
  assistant: "assistant",
  gpt: "assistant",
  model: "assistant",
};

/** Pairs of columns that hold one question and its answer. */
const PAIRS: readonly (readonly [question: string, answer: string])[] = [
  ["prompt", "completion"],
  ["query", "response"],
  ["question", "answer"],
  ["instruction", "output"],
];

/** Whether a row has one of the shapes above. */
export function looksLikeConversation(row: Row): boolean {
  return (
    Array.isArray(row.messages) ||
    Array.isArray(row.conversations) ||
    PAIRS.some(([question, answer]) => question in row && answer in row)
  );
}

/** @param folder that relative media paths start from */
export function exampleOfRow(
  row: Row,
  place: RowPlace,
  setting: { id: string; folder: string; columns?: Columns },
  collector: Collector,
): Example | undefined {
  const columns = setting.columns ?? {};
  const inline: Media[] = [];
  const inlineAudio: Media[] = [];
  const fail = (message: string): undefined => {
    collector.problem(place, message);
    return undefined;
  };
  if (row.videos !== undefined && !(Array.isArray(row.videos) && row.videos.length === 0)) {
    return fail("videos are not read; give frames as images");
  }

  const turns = turnsOf(row, columns, (kind, value) => {
    const medium = collector.media(place, setting.folder, value);
    if (medium !== undefined) (kind === "image" ? inline : inlineAudio).push(medium);
    return medium !== undefined;
  });
  if (typeof turns === "string") return fail(turns);

  const listed = (plural: string, single: string): Media[] | undefined => {
    const value = row[plural] ?? row[single];
    const values: unknown[] =
      value === undefined || value === null ? [] : Array.isArray(value) ? value : [value];
    const media = values.map((item) => collector.media(place, setting.folder, item));
    return media.every((medium) => medium !== undefined) ? media : undefined;
  };
  const images = listed(columns.images ?? "images", "image");
  const audios = listed(columns.audios ?? "audios", "audio");
  if (images === undefined || audios === undefined) return undefined;

  const options = row.options ?? row.choices;
  if (options !== undefined && options !== null && !isTexts(options)) {
    return fail(`"options" must be a list of texts, got ${kindOf(options)}`);
  }
  const named = isTexts(options) && isNumber(row.answer) ? lettered(options) : options;
  return {
    id: scalar(row.id) ?? setting.id,
    turns,
    images: [...inline, ...images],
    audios: [...inlineAudio, ...audios],
    ...(scalar(row.label) === undefined ? {} : { label: scalar(row.label)! }),
    ...(isTexts(named) ? { options: named } : {}),
  };
}

type Inline = (kind: "image" | "audio", value: unknown) => boolean;

/** The turns, or what is wrong. */
function turnsOf(row: Row, columns: Columns, inline: Inline): Turn[] | string {
  const list = row[columns.messages ?? "messages"] ?? row.conversations;
  if (Array.isArray(list)) return turnsOfList(list, row, columns, inline);
  const pairs =
    columns.prompt === undefined ? PAIRS : [[columns.prompt, columns.response ?? "output"] as const];
  const pair = pairs.find(([question, answer]) => question in row && answer in row);
  if (pair === undefined) {
    return `a row needs "messages", "conversations" or a pair such as "question" and "answer", got the keys ${Object.keys(row).join(", ") || "(none)"}`;
  }
  const question = row[pair[0]];
  const chosen = isNumber(row[pair[1]]) ? chosenOption(row, Number(row[pair[1]])) : undefined;
  const answer = chosen?.answer ?? row[pair[1]];
  if (Array.isArray(question) && Array.isArray(answer)) {
    return turnsOfList([...question, ...answer], row, columns, inline);
  }
  if (typeof question !== "string") return `"${pair[0]}" must be text, got ${kindOf(question)}`;
  if (typeof answer !== "string") return `"${pair[1]}" must be text, got ${kindOf(answer)}`;
  const input = row[columns.query ?? "input"];
  const asked = [
    question,
    ...(typeof input === "string" && input !== "" ? [input] : []),
    ...(chosen?.asked ?? []),
  ].join("\n");
  return [
    ...systemTurn(row, columns),
    { role: "user", content: asked },
    { role: "assistant", content: answer },
  ];
}

function turnsOfList(list: readonly unknown[], row: Row, columns: Columns, inline: Inline): Turn[] | string {
  const turns: Turn[] = systemTurn(row, columns);
  const roles: Record<string, Turn["role"]> = { ...ROLES };
  if (columns.userTag !== undefined) roles[columns.userTag] = "user";
  if (columns.assistantTag !== undefined) roles[columns.assistantTag] = "assistant";
  if (columns.systemTag !== undefined) roles[columns.systemTag] = "system";
  for (const [index, item] of list.entries()) {
    if (!isRow(item)) return `turn ${index + 1} must be an object, got ${kindOf(item)}`;
    const word = item[columns.roleTag ?? "role"] ?? item.role ?? item.from;
    const role = typeof word === "string" ? roles[word] : undefined;
    if (role === undefined) {
      return `the role of turn ${index + 1} must be one of ${Object.keys(roles).join(", ")}, got ${JSON.stringify(word) ?? "nothing"}`;
    }
    const content = contentOf(item[columns.contentTag ?? "content"] ?? item.content ?? item.value, inline);
    if (content === undefined) {
      return `the content of turn ${index + 1} must be text or a list of parts {"type": "text" | "image" | "audio"}`;
    }
    turns.push({ role, content });
  }
  return turns;
}

function systemTurn(row: Row, columns: Columns): Turn[] {
  const text = row[columns.system ?? "system"];
  return typeof text === "string" && text !== "" ? [{ role: "system", content: text }] : [];
}

/** Parts become text with marks: {"type": "image"} is "<image>". */
function contentOf(value: unknown, inline: Inline): string | undefined {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return undefined;
  let text = "";
  for (const part of value) {
    if (typeof part === "string") text += part;
    else if (!isRow(part)) return undefined;
    else if (part.type === "text") {
      if (typeof part.text !== "string") return undefined;
      text += part.text;
    } else if (part.type === "image" || part.type === "image_url" || part.type === "audio") {
      const kind = part.type === "audio" ? "audio" : "image";
      const named = part[kind] ?? part.image_url ?? part.path ?? part.url;
      if (named !== undefined && named !== null && !inline(kind, named)) return undefined;
      text += MARK[kind];
    } else return undefined;
  }
  return text;
}

function scalar(value: unknown): string | undefined {
  return ["string", "number", "bigint", "boolean"].includes(typeof value) ? String(value) : undefined;
}

/** The option that a number names, from 0, and the lines that ask for it. */
function chosenOption(row: Row, index: number): { answer: string; asked: string[] } | undefined {
  const options = row.options ?? row.choices;
  const answer = isTexts(options) ? lettered(options)[index] : undefined;
  return answer === undefined || !isTexts(options)
    ? undefined
    : { answer, asked: ["Options:", ...lettered(options)] };
}

function isNumber(value: unknown): boolean {
  return typeof value === "number" || typeof value === "bigint";
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}
