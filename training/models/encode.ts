/**
 * Examples to token ids and labels. Labels stand on the answer only: the conversation is rendered with and
 * without its last turn, and what the two have in common is the prompt. The answer's end token is labelled;
 * what a template puts behind it is left out.
 */
import { FedloomError } from "../../base/errors.ts";
import type { Example, Turn } from "../../data/example.ts";
import { type ChatTemplate, IMAGE_MARK } from "./chat-template.ts";
import type { ImageGrid, ImageText } from "./image-tokens.ts";
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
  /** Absent: the model takes no images. */
  readonly image: { readonly token: string; readonly text: ImageText } | undefined;
}

/** The prompt that makes the model answer the last user turn. */
export function encodePrompt(
  model: TextModel,
  example: Pick<Example, "id" | "turns" | "images">,
  grids: readonly ImageGrid[],
): Encoded {
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
  example: Pick<Example, "id" | "turns" | "images">,
  grids: readonly ImageGrid[],
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
  grids: readonly ImageGrid[],
): Encoded {
  return encodePair(model, prompt, prompt + answer, grids, id);
}

function promptText(model: TextModel, turns: readonly Turn[]): string {
  if (model.template !== undefined) return model.template.render(turns, imageTokenOf(model), { ask: true });
  return `${turns.map(({ content }) => content).join("\n")}\n`;
}

function answeredText(model: TextModel, turns: readonly Turn[], answer: string): string {
  if (model.template === undefined) return promptText(model, turns) + answer;
  return model.template.render([...turns, { role: "assistant", content: answer }], imageTokenOf(model), {
    ask: false,
  });
}

function encodePair(
  model: TextModel,
  prompt: string,
  whole: string,
  grids: readonly ImageGrid[],
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

const imageTokenOf = (model: TextModel): string => model.image?.token ?? IMAGE_MARK;

/** Turns with as many marks as there are images: those without a mark stand before the first user turn's text. */
function withMarks(
  { id, turns, images }: Pick<Example, "id" | "turns" | "images">,
  model: TextModel,
): Turn[] {
  if (images.length > 0 && model.image === undefined) {
    throw new FedloomError(
      "F2139",
      `Cannot use example "${id}": it has ${images.length} images and the model takes none`,
      {
        example: id,
      },
    );
  }
  const marks = turns.reduce((sum, { content }) => sum + content.split(IMAGE_MARK).length - 1, 0);
  const first = turns.findIndex(({ role }) => role === "user");
  if (marks > images.length || first < 0) {
    throw new FedloomError(
      "F2139",
      first < 0
        ? `Cannot use example "${id}": a user turn is wanted, got none`
        : `Cannot use example "${id}": its turns have ${marks} marks "${IMAGE_MARK}" for ${images.length} images`,
      { example: id },
    );
  }
  const unmarked = IMAGE_MARK.repeat(images.length - marks);
  return turns.map((turn, i) => (i === first ? { ...turn, content: unmarked + turn.content } : turn));
}

/** Token ids of a text in which each image token stands for a whole image. */
function tokensOf(model: TextModel, text: string, grids: readonly ImageGrid[], id: string): number[] {
  const { tokenizer, image, template } = model;
  let expanded = text;
  if (image !== undefined) {
    const pieces = text.split(image.token);
    if (pieces.length - 1 !== grids.length) {
      throw new FedloomError(
        "F2139",
        `Cannot use example "${id}": its prompt has ${pieces.length - 1} image tokens for ${grids.length} images`,
        { example: id },
      );
    }
    expanded = pieces.reduce((before, piece, i) => before + image.text(grids[i - 1]!) + piece);
  }
  // A template writes the begin token itself.
  return tokenizer.encode(expanded, { special: template === undefined });
}
