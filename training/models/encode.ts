/**
 * Examples to token ids and labels. Labels stand on the answer only: the conversation is rendered with and
 * without its last turn, and what the two have in common is the prompt. The answer's end token is labelled;
 * what a template puts behind it is left out.
 */
import { FedloomError } from "../../base/errors.ts";
import { type Example, MARK, type Turn } from "../../data/example.ts";
import type { ChatTemplate } from "./chat-template.ts";
import { MEDIA_KINDS, type MediaGrid, type MediaKind, type Placeholder } from "./media-kind.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** The label of a token that is not trained on. */
export const NO_LABEL = -100;

export interface Encoded {
  readonly ids: Int32Array;
  /** From here on the tokens are the answer; equal to the length where there is none. */
  readonly answerFrom: number;
}

export interface TextModel {
  readonly tokenizer: Tokenizer;
  /** Absent: the model continues plain text. */
  readonly template: ChatTemplate | undefined;
  /** Absent: the model takes none of the kind. */
  readonly image: Placeholder | undefined;
  readonly audio: Placeholder | undefined;
}

type Asked = Pick<Example, "id" | "turns" | "images" | "audios">;

/** The prompt that makes the model answer the last user turn. */
export function encodePrompt(model: TextModel, example: Asked, grids: readonly MediaGrid[]): Encoded {
  const turns = withMarks(example, model);
  const asked = turns.at(-1)?.role === "assistant" ? turns.slice(0, -1) : turns;
  const ids = tokensOf(model, promptText(model, asked), grids, example.id);
  return { ids: Int32Array.from(ids), answerFrom: ids.length };
}

/**
 * The prompt with its answer.
 *
 * @param answer stands in place of the assistant's last turn, which is taken where it is absent
 */
export function encodeWithAnswer(
  model: TextModel,
  example: Asked,
  grids: readonly MediaGrid[],
  answer?: string,
): Encoded {
  const turns = withMarks(example, model);
  const last = turns.at(-1);
  const content = answer ?? (last?.role === "assistant" ? last.content : undefined);
  if (content === undefined) {
    throw new FedloomError(
      "F2139",
      `Cannot train on example "${example.id}": its last turn must be the assistant's, got ${last === undefined ? "no turns" : `"${last.role}"`}`,
      { example: example.id },
    );
  }
  const asked = last?.role === "assistant" ? turns.slice(0, -1) : turns;
  return encodePair(model, promptText(model, asked), answeredText(model, asked, content), grids, example.id);
}

/** A prompt and an answer as they are, without a template; the end token follows the answer. */
export function encodeRaw(
  model: TextModel,
  { id, prompt, answer }: { id: string; prompt: string; answer: string },
  grids: readonly MediaGrid[],
): Encoded {
  return encodePair(model, prompt, prompt + answer, grids, id);
}

function promptText(model: TextModel, turns: readonly Turn[]): string {
  if (model.template !== undefined) return model.template.render(turns, mediaTokensOf(model), { ask: true });
  return `${turns.map(({ content }) => content).join("\n")}\n`;
}

function answeredText(model: TextModel, turns: readonly Turn[], answer: string): string {
  if (model.template === undefined) return promptText(model, turns) + answer;
  return model.template.render([...turns, { role: "assistant", content: answer }], mediaTokensOf(model), {
    ask: false,
  });
}

function encodePair(
  model: TextModel,
  prompt: string,
  whole: string,
  grids: readonly MediaGrid[],
  id: string,
): Encoded {
  const { tokenizer } = model;
  const promptIds = tokensOf(model, prompt, grids, id);
  const ids = tokensOf(model, whole, grids, id);
  let from = 0;
  while (from < promptIds.length && from < ids.length && promptIds[from] === ids[from]) from++;
  let end = ids.length;
  while (end > from && !tokenizer.isSpecial(ids[end - 1]!)) end--;
  if (end > from) return { ids: Int32Array.from(ids.slice(0, end)), answerFrom: from };
  const endId = tokenizer.endToken === undefined ? undefined : tokenizer.idOf(tokenizer.endToken);
  return { ids: Int32Array.from(endId === undefined ? ids : [...ids, endId]), answerFrom: from };
}

const mediaTokensOf = ({ image, audio }: TextModel): Record<MediaKind, string> => ({
  image: image?.token ?? MARK.image,
  audio: audio?.token ?? MARK.audio,
});

const NOUNS: Readonly<Record<MediaKind, string>> = { image: "images", audio: "sounds" };

/** Turns with as many marks as there are media: those without a mark stand before the first user turn's text. */
function withMarks({ id, turns, images, audios }: Asked, model: TextModel): Turn[] {
  const fail = (why: string): never => {
    throw new FedloomError("F2139", `Cannot use example "${id}": ${why}`, { example: id });
  };
  const first = turns.findIndex(({ role }) => role === "user");
  if (first < 0) return fail("a user turn is wanted, got none");
  const counts: Readonly<Record<MediaKind, number>> = { image: images.length, audio: audios.length };
  const unmarked = MEDIA_KINDS.map((kind) => {
    const [mark, count] = [MARK[kind], counts[kind]];
    if (count > 0 && model[kind] === undefined)
      return fail(`it has ${count} ${NOUNS[kind]} and the model takes none`);
    const marks = turns.reduce((sum, { content }) => sum + content.split(mark).length - 1, 0);
    if (marks > count) return fail(`its turns have ${marks} marks "${mark}" for ${count} ${NOUNS[kind]}`);
    return mark.repeat(count - marks);
  }).join("");
  return turns.map((turn, i) => (i === first ? { ...turn, content: unmarked + turn.content } : turn));
}

/** Token ids of a text in which each medium's token stands for a whole picture or sound. */
function tokensOf(model: TextModel, text: string, grids: readonly MediaGrid[], id: string): number[] {
  let expanded = text;
  for (const kind of MEDIA_KINDS) {
    const placeholder = model[kind];
    if (placeholder === undefined) continue;
    const own = grids.filter((grid) => grid.kind === kind);
    const pieces = expanded.split(placeholder.token);
    if (pieces.length - 1 !== own.length) {
      throw new FedloomError(
        "F2139",
        `Cannot use example "${id}": its prompt has ${pieces.length - 1} ${kind} tokens for ${own.length} ${NOUNS[kind]}`,
        { example: id },
      );
    }
    expanded = pieces.reduce((before, piece, i) => before + placeholder.text(own[i - 1]!) + piece);
  }
  // A template writes the begin token itself.
  return model.tokenizer.encode(expanded, { special: model.template === undefined });
}
