import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import type { Example, Media, Turn } from "../../../data/example.ts";
import { chatTemplate, openChatTemplate } from "../../../training/models/chat-template.ts";
import {
  encodePrompt,
  encodeRaw,
  encodeWithAnswer,
  type TextModel,
} from "../../../training/models/encode.ts";
import { openImageText } from "../../../training/models/image-tokens.ts";
import { mediaTokenId, readModelConfig } from "../../../training/models/model-config.ts";
import { openTokenizer } from "../../../training/models/tokenizer.ts";

const MODELS = join(import.meta.dirname, "../../golden/models");
const WHOLE = { kind: "image", rows: 0, columns: 0 } as const;

async function open(name: string, family?: "plain" | "tiles"): Promise<TextModel> {
  const path = join(MODELS, name);
  const config = await readModelConfig(path);
  const tokenizer = await openTokenizer(path, config);
  const template = await openChatTemplate(path, { bos_token: "", eos_token: tokenizer.endToken ?? "" });
  if (family === undefined) return { tokenizer, template, image: undefined, audio: undefined };
  const token = tokenizer.tokenOf(mediaTokenId(config, "image")!)!;
  return {
    tokenizer,
    template,
    image: { token, text: await openImageText(path, config, family, token) },
    audio: undefined,
  };
}

const tokensOf = (model: TextModel, ids: Iterable<number>) =>
  [...ids].map((id) => model.tokenizer.tokenOf(id)).join(" ");

interface ReferenceText {
  readonly rows: readonly { readonly prompt: string; readonly answer: string }[];
  readonly ids: readonly (readonly number[])[];
}

describe("raw prompts have the ids of the reference", () => {
  test.each([
    { name: "smollm-tiny", family: undefined, images: [0, 0, 0] },
    { name: "smolvlm-tiny", family: "tiles", images: [1, 2, 0] },
    { name: "llava-tiny", family: "plain", images: [1, 1, 0] },
  ] as const)("$name", async ({ name, family, images }) => {
    const model = await open(name, family);
    const text: ReferenceText = JSON.parse(readFileSync(join(MODELS, name, "reference/text.json"), "utf8"));
    expect(text.rows.length).toBe(3);
    for (const [i, { prompt, answer }] of text.rows.entries()) {
      // The reference's prompts have their image tokens written out; ours have one for each image.
      const written = model.image?.text(WHOLE);
      const short = written === undefined ? prompt : prompt.replaceAll(written, model.image!.token);
      const { ids, answerFrom } = encodeRaw(
        { ...model, template: undefined },
        { id: `${i}`, prompt: short, answer },
        Array.from({ length: images[i]! }, () => WHOLE),
      );
      expect([...ids]).toEqual(text.ids[i]);
      // The labels are the answer and its end token.
      expect(model.tokenizer.decode([...ids.slice(answerFrom)])).toBe(answer);
      expect(ids.at(-1)).toBe(model.tokenizer.idOf("<|im_end|>"));
    }
  });

  test("bert-tiny-classifier adds its begin token", async () => {
    const { tokenizer } = await open("bert-tiny-classifier");
    const path = join(MODELS, "bert-tiny-classifier/reference/text.json");
    const { texts, ids }: { texts: string[]; ids: number[][] } = JSON.parse(readFileSync(path, "utf8"));
    expect(texts.map((text) => tokenizer.encode(text, { special: true }))).toEqual(ids);
  });
});

test("an answer that ends at once is no text", async () => {
  const { tokenizer } = await open("bert-tiny-classifier");
  expect(tokenizer.decode([])).toBe("");
});

describe("conversations", () => {
  let model: TextModel;
  beforeAll(async () => {
    model = await open("smolvlm-tiny", "tiles");
  });

  const picture: Media = { name: "a.png", read: async () => new Uint8Array() };
  const example = (
    turns: Turn[],
    images: Media[] = [],
  ): Pick<Example, "id" | "turns" | "images" | "audios"> => ({
    id: "e1",
    turns,
    images,
    audios: [],
  });
  const asked: Turn = { role: "user", content: "what ?" };
  const answered: Turn = { role: "assistant", content: "red ." };

  test("labels stand on the answer and its end token, not on what follows", () => {
    const { ids, answerFrom } = encodeWithAnswer(model, example([asked, answered]), []);
    expect(tokensOf(model, ids.slice(0, answerFrom))).toBe(
      "<|im_start|> u s er Ċ w h at Ġ? <|im_end|> Ċ <|im_start|> a s s i s t a n t Ċ",
    );
    expect(tokensOf(model, ids.slice(answerFrom))).toBe("re d Ġ. <|im_end|>");
  });

  test("the prompt is what stands before the answer", () => {
    const whole = encodeWithAnswer(model, example([asked, answered]), []);
    for (const turns of [[asked, answered], [asked]]) {
      const prompt = encodePrompt(model, example(turns), []);
      expect([...prompt.ids]).toEqual([...whole.ids.slice(0, whole.answerFrom)]);
    }
  });

  test("another answer takes the place of the true one", () => {
    const { ids, answerFrom } = encodeWithAnswer(model, example([asked, answered]), [], "blue");
    expect(model.tokenizer.decode([...ids.slice(answerFrom)])).toBe("blue");
  });

  test("an image without a mark stands before the first user turn", () => {
    const marked: Turn = { role: "user", content: "<image>what ?" };
    const unmarked = encodePrompt(model, example([asked], [picture]), [WHOLE]);
    expect(unmarked).toEqual(encodePrompt(model, example([marked], [picture]), [WHOLE]));
    expect(tokensOf(model, unmarked.ids)).toContain(
      "Ċ <fake_token_around_image> <global-img> <image> <image> <image> <image> <fake_token_around_image> w h at",
    );
  });

  test("a split image has a token row for each row of its grid, and the whole image last", () => {
    const text = model.image!.text({ rows: 1, columns: 2 });
    const four = "<image><image><image><image>";
    const around = "<fake_token_around_image>";
    expect(text).toBe(
      `${around}<row_1_col_1>${four}${around}<row_1_col_2>${four}\n\n${around}<global-img>${four}${around}`,
    );
  });

  test("an example without the assistant's turn cannot be trained on", () => {
    expect(() => encodeWithAnswer(model, example([asked]), [])).toThrow(
      'Cannot train on example "e1": its last turn must be the assistant\'s, got "user"',
    );
  });

  test("more marks than images are refused", () => {
    const twice: Turn = { role: "user", content: "<image><image>what ?" };
    expect(() => encodePrompt(model, example([twice], [picture]), [WHOLE])).toThrow(
      'Cannot use example "e1": its turns have 2 marks "<image>" for 1 images',
    );
  });

  test("a model for texts refuses images", async () => {
    const textual = await open("smollm-tiny");
    expect(() => encodePrompt(textual, example([asked], [picture]), [])).toThrow(
      'Cannot use example "e1": it has 1 images and the model takes none',
    );
  });
});

describe("chat templates", () => {
  const tokens = { bos_token: "<s>", eos_token: "</s>" };

  test("one that takes parts gets images and texts, without the line break beside a mark", () => {
    const template = chatTemplate(
      "{% for m in messages %}{{ m.role | capitalize }}:{% for part in m.content %}{% if part.type == 'image' %}[I]{% else %}{{ part.text }}{% endif %}{% endfor %}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}",
      tokens,
      "parts",
    );
    const turns: Turn[] = [{ role: "user", content: "<image>\nWhat is <image> ?" }];
    expect(template.render(turns, { image: "<img>", audio: "<snd>" }, { ask: true })).toBe(
      "User:[I]What is [I] ?</s>Assistant:",
    );
  });

  test("one that takes texts gets the model's own image token", () => {
    const template = chatTemplate("{% for m in messages %}{{ m['content'] }}{% endfor %}", tokens, "texts");
    const turns: Turn[] = [{ role: "user", content: "<image>What ?" }];
    expect(template.render(turns, { image: "<|img|>", audio: "<snd>" }, { ask: false })).toBe(
      "<|img|>What ?",
    );
  });

  test("one that is no template is refused by name", () => {
    expect(() => chatTemplate("{% for %}", tokens, "chat_template.jinja")).toThrow(
      /^Cannot use chat template "chat_template.jinja": /,
    );
  });

  test("what a template raises is told", () => {
    const template = chatTemplate("{{ raise_exception('system turns are not supported') }}", tokens, "t");
    expect(() =>
      template.render(
        [{ role: "system", content: "x" }],
        { image: "<image>", audio: "<audio>" },
        { ask: false },
      ),
    ).toThrow(/^Cannot use chat template "t": .*system turns are not supported/);
  });
});
