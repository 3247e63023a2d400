/**
 * Turns of a conversation to the text that a model was trained on, by its chat template.
 *
 * Templates come in two kinds: those that take a message's content as text, and those that take it as a list of
 * parts, {type: "image"}, {type: "audio"} and {type: "text"}. Which kind a template is, is found by rendering a probe both ways.
 */
import { join } from "node:path";
import { Template } from "@huggingface/jinja";
import { z } from "zod";
import { FedloomError, messageOf } from "../../base/errors.ts";
import { MARK, type Turn } from "../../data/example.ts";
import { readJsonIfPresent, readTextIfPresent } from "./json-file.ts";
import type { MediaKind } from "./media-kind.ts";

export interface ChatTemplate {
  /**
   * @param mediaTokens the model's own tokens, which stand where the marks stood
   * @param options.ask ends with the head of the assistant's turn, so that the model answers
   */
  render(
    turns: readonly Turn[],
    mediaTokens: Readonly<Record<MediaKind, string>>,
    options: { ask: boolean },
  ): string;
}

type Content = string | readonly ({ type: MediaKind } | { type: "text"; text: string })[];

const named = z.array(z.object({ name: z.string(), template: z.string() }));
const schema = z.object({ chat_template: z.union([z.string(), named]).nullish() });

/** @returns undefined where the model has none: it continues plain text */
export async function openChatTemplate(
  directory: string,
  tokens: { bos_token: string; eos_token: string },
): Promise<ChatTemplate | undefined> {
  const path = join(directory, "chat_template.jinja");
  const source = (await readTextIfPresent(path)) ?? (await sourceInJson(directory));
  return source === undefined ? undefined : chatTemplate(source, tokens, path);
}

/** Older models keep it in chat_template.json or tokenizer_config.json. */
async function sourceInJson(directory: string): Promise<string | undefined> {
  for (const file of ["chat_template.json", "processor_config.json", "tokenizer_config.json"]) {
    const found = (await readJsonIfPresent(join(directory, file), schema))?.chat_template;
    if (typeof found === "string") return found;
    const chosen = found?.find(({ name }) => name === "default") ?? found?.[0];
    if (chosen !== undefined) return chosen.template;
  }
  return undefined;
}

export function chatTemplate(
  source: string,
  tokens: { bos_token: string; eos_token: string },
  name: string,
): ChatTemplate {
  const fail = (cause: unknown): never => {
    throw new FedloomError(
      "F2134",
      `Cannot use chat template "${name}": ${messageOf(cause)}`,
      { name },
      { cause },
    );
  };
  let template: Template;
  try {
    template = new Template(source);
  } catch (cause) {
    return fail(cause);
  }
  const render = (messages: readonly { role: string; content: Content }[], ask: boolean): string =>
    template.render({ messages, add_generation_prompt: ask, ...tokens });
  const takesParts = probe(render);
  return {
    render(turns, mediaTokens, { ask }) {
      const messages = turns.map(({ role, content }) => ({
        role,
        content: takesParts
          ? partsOf(content)
          : content.replaceAll(MARK.image, mediaTokens.image).replaceAll(MARK.audio, mediaTokens.audio),
      }));
      try {
        return render(messages, ask);
      } catch (cause) {
        return fail(cause);
      }
    },
  };
}

/** A template for texts prints a list as "[object" or as JSON, or throws; one for parts prints the text alone. */
function probe(
  render: (messages: readonly { role: string; content: Content }[], ask: boolean) => string,
): boolean {
  try {
    const printed = render([{ role: "user", content: [{ type: "text", text: "probe-text" }] }], false);
    return printed.includes("probe-text") && !printed.includes("object") && !printed.includes('"type"');
  } catch {
    return false; // what is meant to be found out: this template does not take parts
  }
}

/** One line break beside a mark belongs to the mark ("<image>\nWhat is this?"). */
function partsOf(content: string): Content {
  const kinds = (content.match(/<(image|audio)>/g) ?? []).map((mark) =>
    mark === MARK.image ? "image" : "audio",
  );
  const texts = content.split(/<(?:image|audio)>/);
  return texts.flatMap((text, i) => {
    const before = i === texts.length - 1 ? text : text.replace(/\n$/, "");
    const inner = i === 0 ? before : before.replace(/^\n/, "");
    const part = inner === "" ? [] : [{ type: "text" as const, text: inner }];
    return i === 0 ? part : [{ type: kinds[i - 1]! }, ...part];
  });
}
