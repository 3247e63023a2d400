import { expect, test } from "vitest";
import type { Example } from "../../data/example.ts";
import { modalitiesOf } from "../../data/example.ts";
import { templateNamed, withKept } from "../../data/prompts/index.ts";
import { crisisPrompt, hatefulMemesPrompt } from "../../data/prompts/multiple-choice.ts";
import { publishedOption, strictOption } from "../../data/prompts/parse-answer.ts";

test.each([
  ["(B) hateful", 1, 1],
  ["B", 1, 1],
  ["answer: b", 2, 1],
  ["The best answer is (A).", 0, 0],
  ["hateful", 2, 1],
  ["It is not-hateful", 2, 0],
  ["I Believe (A)", 1, undefined],
  ["( A )", 2, undefined],
  ["", 2, undefined],
  ["C", 2, undefined],
])("%j is option %d as published, %j strictly", (answer, published, strict) => {
  expect(publishedOption(hatefulMemesPrompt, answer)).toBe(published);
  expect(strictOption(hatefulMemesPrompt, answer)).toBe(strict);
});

test("as published, a word's capital counts as an answer among eight options; strictly it does not", () => {
  expect(publishedOption(crisisPrompt, "Given the picture, vehicle_damage")).toBe(6);
  expect(strictOption(crisisPrompt, "Given the picture, vehicle_damage")).toBe(5);
  expect(strictOption(crisisPrompt, "vehicle_damage or affected_individuals")).toBeUndefined();
});

test("an unknown template is refused with the known ones", () => {
  expect(() => templateNamed("poem")).toThrow("known are hateful-memes, crisis-mmd");
});

const media = { name: "x", read: async () => new Uint8Array() };
const chat: Example = {
  id: "1",
  turns: [
    { role: "system", content: "be brief" },
    { role: "user", content: "<image>\nwhat is <audio> here?" },
    { role: "assistant", content: "a bell" },
  ],
  images: [media],
  audios: [media],
};

test("without a template, media go with their marks, and words go but for marks", () => {
  const user = (keep: ("text" | "image" | "audio")[]): string => withKept(chat, keep).turns[1]!.content;
  expect(user(["text", "image", "audio"])).toBe("<image>\nwhat is <audio> here?");
  expect(user(["text", "image"])).toBe("<image>\nwhat is  here?");
  expect(user(["text", "audio"])).toBe("what is <audio> here?");
  expect(user(["image", "audio"])).toBe("<image><audio>");
  expect(withKept(chat, ["text"])).toMatchObject({ images: [], audios: [] });
  expect(withKept(chat, ["image"]).turns[0]!.content).toBe("be brief");
});

test("an example carries text only where a user says more than marks", () => {
  expect(modalitiesOf(chat)).toEqual(["text", "image", "audio"]);
  expect(modalitiesOf(withKept(chat, ["image"]))).toEqual(["image"]);
});

test("a template's question is no text of the example: dropped words are gone, also when its wording changes later", () => {
  const meme: Example = {
    id: "1",
    turns: [
      {
        role: "user",
        content: hatefulMemesPrompt.prompt("so it goes", { text: true, image: true }, "standard"),
      },
    ],
    images: [media],
    audios: [],
    template: { name: "hateful-memes", text: "so it goes" },
  };
  const pictured = withKept(meme, ["image"]);
  expect(modalitiesOf(meme)).toEqual(["text", "image"]);
  expect(modalitiesOf(withKept(meme, ["text"]))).toEqual(["text"]);
  expect(modalitiesOf(pictured)).toEqual(["image"]);
  expect(withKept(pictured, ["text", "image"])).toEqual(pictured);
  expect(withKept(meme, []).template).toEqual({ name: "hateful-memes" });
});

test("the original example is left as it is", () => {
  const before = structuredClone(chat.turns);
  withKept(chat, ["image"]);
  expect(chat.turns).toEqual(before);
});
