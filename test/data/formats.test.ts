import { join } from "node:path";
import { expect, test } from "vitest";
import { examplesOf, type Split } from "../../data/dataset.ts";
import { DATASET_FORMATS } from "../../data/formats/index.ts";
import { openDataset } from "../../data/open-dataset.ts";
import { folder } from "./folder.ts";

const say = (user: unknown, assistant: unknown = "yes") => ({
  messages: [
    { role: "user", content: user },
    { role: "assistant", content: assistant },
  ],
});

/** What a test compares of an example: words and the last parts of media names. */
async function read(root: string, split: Split = "train") {
  const dataset = await openDataset(root);
  const examples = examplesOf(dataset, split).map((example) => ({
    id: example.id,
    said: example.turns.map((turn) => turn.content),
    images: example.images.map((image) => image.name.replace(`${root}/`, "")),
    label: example.label,
  }));
  return { format: dataset.format, examples };
}

test("messages JSONL: text, parts, images beside, labels and options", async () => {
  const root = folder({
    "train.jsonl": [
      { ...say("<image>\nwhat?", "cat"), images: ["pictures/a.png"], label: "cat", options: ["cat", "dog"] },
      {
        ...say([{ type: "image" }, { type: "text", text: "and?" }], [{ type: "text", text: "dog" }]),
        images: ["b.png"],
      },
      { id: "mine", ...say("plain") },
    ],
    "held-out.jsonl": [say("later")],
    "pictures/a.png": "x",
    "b.png": "x",
  });
  expect(await read(root)).toEqual({
    format: "messages",
    examples: [
      { id: "train:1", said: ["<image>\nwhat?", "cat"], images: ["pictures/a.png"], label: "cat" },
      { id: "train:2", said: ["<image>and?", "dog"], images: ["b.png"], label: undefined },
      { id: "mine", said: ["plain", "yes"], images: [], label: undefined },
    ],
  });
  expect((await read(root, "held-out")).examples).toHaveLength(1);
});

test("messages JSONL: a line separator inside a string does not end the line", async () => {
  const root = folder({ "train.jsonl": `${JSON.stringify(say("a\u2028b"))}\n` });
  expect((await read(root)).examples[0]!.said[0]).toBe("a\u2028b");
});

test("one file is a dataset too", async () => {
  const root = folder({ "mine.jsonl": [{ query: "q", response: "r" }] });
  expect((await read(join(root, "mine.jsonl"))).examples[0]!.said).toEqual(["q", "r"]);
});

test("the answer may be the number of an option, as hub datasets of choices have it", async () => {
  const root = folder({ "train.jsonl": [{ question: "which?", choices: ["cat", "dog"], answer: 1 }] });
  const [example] = examplesOf(await openDataset(root), "train");
  expect(example!.turns.map((turn) => turn.content)).toEqual([
    "which?\nOptions:\n(A) cat\n(B) dog",
    "(B) dog",
  ]);
  expect(example!.options).toEqual(["(A) cat", "(B) dog"]);
});

test("audio goes by its own mark and column, as ms-swift writes it", async () => {
  const root = folder({ "train.jsonl": [{ ...say("<audio>say it"), audios: ["a.wav"] }], "a.wav": "x" });
  const [example] = examplesOf(await openDataset(root), "train");
  expect(example!.audios.map((audio) => audio.name)).toEqual([join(root, "a.wav")]);
});

test("media are read when asked for, and only then", async () => {
  const root = folder({ "train.jsonl": [{ ...say("<image>?"), images: ["a.png"] }], "a.png": "bytes" });
  const [example] = examplesOf(await openDataset(root), "train");
  expect(Buffer.from(await example!.images[0]!.read()).toString()).toBe("bytes");
});

test("LLaVA: conversations of human and gpt, the image beside", async () => {
  const root = folder({
    "llava.json": [
      {
        id: "7",
        image: "a.png",
        conversations: [
          { from: "human", value: "<image>\nwhat?" },
          { from: "gpt", value: "cat" },
        ],
      },
    ],
    "a.png": "x",
  });
  expect(await read(root)).toEqual({
    format: "sharegpt",
    examples: [{ id: "7", said: ["<image>\nwhat?", "cat"], images: ["a.png"], label: undefined }],
  });
});

test("LLaMA-Factory: columns and tags have the names that dataset_info.json gives", async () => {
  const root = folder({
    "dataset_info.json": {
      chat: {
        file_name: "chat.json",
        formatting: "sharegpt",
        columns: { messages: "talk", images: "pics" },
        tags: { role_tag: "who", content_tag: "what", user_tag: "me", assistant_tag: "you" },
      },
      facts: { file_name: "facts.json", columns: { prompt: "ask", response: "say" } },
    },
    "chat.json": [
      {
        talk: [
          { who: "me", what: "<image>?" },
          { who: "you", what: "!" },
        ],
        pics: ["a.png"],
      },
    ],
    "facts.json": [{ ask: "one", say: "two" }],
    "a.png": "x",
  });
  const { format, examples } = await read(root);
  expect(format).toBe("llama-factory");
  expect(examples.map((example) => example.said)).toEqual([
    ["<image>?", "!"],
    ["one", "two"],
  ]);
});

test("parquet: pictures stay in the file until they are read, whatever the order", async () => {
  const dataset = await openDataset(join(import.meta.dirname, "parquet/single"));
  const examples = examplesOf(dataset, "train");
  expect(dataset.format).toBe("parquet");
  expect(examples.map((example) => example.turns[1]!.content)).toEqual(
    [0, 1, 2, 3, 4].map((i) => `number ${i}`),
  );
  for (const i of [4, 0, 3, 1, 2]) expect([...(await examples[i]!.images[0]!.read())]).toEqual([i, 1, 2]);
});

test("parquet: a list of pictures gives as many as each row has", async () => {
  const dataset = await openDataset(join(import.meta.dirname, "parquet/several"));
  const examples = examplesOf(dataset, "held-out");
  expect(examples.map((example) => example.images.length)).toEqual([0, 1, 2]);
  expect([...(await examples[2]!.images[1]!.read())]).toEqual([9, 2, 1]);
});

test("parquet: a row without a picture has none", async () => {
  const examples = examplesOf(await openDataset(join(import.meta.dirname, "parquet/sparse")), "train");
  expect(examples.map((example) => example.images.length)).toEqual([1, 0, 1]);
  expect([...(await examples[2]!.images[0]!.read())]).toEqual([2]);
  expect(examples.map((example) => example.turns[1]!.content)).toEqual(["(B) b", "(A) a", "(B) b"]);
});

test("parquet: numbered labels get the names that the file's metadata gives them", async () => {
  const dataset = await openDataset(join(import.meta.dirname, "parquet/classes"));
  const examples = examplesOf(dataset, "validation");
  expect(examples.map((example) => example.label)).toEqual(["dog", "cat", "dog"]);
  expect(examples[0]!.options).toEqual(["cat", "dog"]);
});

test("imagefolder with metadata: captions by file name, a folder a split", async () => {
  const root = folder({
    "train/metadata.jsonl": [{ file_name: "a.png", text: "a cat" }],
    "train/a.png": "x",
    "test/metadata.csv": 'file_name,text\nb.png,"a dog, sitting"\n',
    "test/b.png": "x",
  });
  expect((await read(root)).examples[0]!.said).toEqual(["<image>\nDescribe the picture.", "a cat"]);
  expect((await read(root, "held-out")).examples[0]!.said[1]).toBe("a dog, sitting");
});

test("imagefolder without metadata: a folder a class", async () => {
  const root = folder({ "cat/1.png": "x", "cat/2.png": "x", "dog/1.png": "x" });
  const { format, examples } = await read(root);
  expect(format).toBe("image-folder");
  expect(examples.map(({ id, label }) => [id, label])).toEqual([
    ["cat/1.png", "cat"],
    ["cat/2.png", "cat"],
    ["dog/1.png", "dog"],
  ]);
});

test("Hateful Memes: three files, the benchmark's prompt, options to choose from", async () => {
  const row = (id: number, label: number) => ({ id, img: `img/${id}.png`, label, text: "look" });
  const root = folder({
    "train.jsonl": [row(1, 0), row(2, 1)],
    "test_seen.jsonl": [row(3, 1)],
    "img/1.png": "x",
    "img/2.png": "x",
    "img/3.png": "x",
  });
  const { format, examples } = await read(root);
  expect(format).toBe("hateful-memes");
  expect(examples.map(({ id, said, label }) => [id, said[1], label])).toEqual([
    ["1", "(A) not-hateful", "not-hateful"],
    ["2", "(B) hateful", "hateful"],
  ]);
  expect((await read(root, "held-out")).examples[0]!.images).toEqual(["img/3.png"]);
});

test("CrisisMMD: the label of the image, web addresses cut out of the tweet", async () => {
  const header = "image_id\ttweet_text\timage\tlabel\tlabel_image";
  const row = "9_0\tflood https://t.co/x now\tdata_image/a.jpg\tnot_humanitarian\tvehicle_damage";
  const root = folder({
    "crisismmd_datasplit_all/task_humanitarian_text_img_train.tsv": `${header}\n${row}\n`,
    "data_image/a.jpg": "x",
  });
  const { format, examples } = await read(root);
  expect(format).toBe("crisis-mmd");
  expect(examples[0]).toMatchObject({ id: "9_0", label: "vehicle_damage" });
  expect(examples[0]!.said[0]).toContain("\nflood  now\n");
  expect(examples[0]!.said[1]).toBe("(F) vehicle_damage");
});

test("the medical directory: VQA-RAD, flashcards and SLAKE's English questions", async () => {
  const question = (phrase_type: string, answer: unknown) => ({
    phrase_type,
    image_name: "a.jpg",
    question: "where?",
    answer,
    answer_type: "OPEN",
  });
  const root = folder({
    "VQA_RAD Dataset Public.json": [
      question("freeform", "left"),
      question("test_para", 2),
      question("other", "x"),
    ],
    "medical_meadow_wikidoc_medical_flashcards.json": [{ input: "q", output: "a" }, { input: "no answer" }],
    "Slake1.0/test.json": [
      { img_name: "x/source.jpg", question: "which?", answer: "CT", q_lang: "en", answer_type: "OPEN" },
      { img_name: "x/source.jpg", question: "哪个?", answer: "CT", q_lang: "zh", answer_type: "OPEN" },
    ],
    "images/a.jpg": "x",
    "Slake1.0/imgs/x/source.jpg": "x",
  });
  const { format, examples } = await read(root);
  expect(format).toBe("fedmllm-medical");
  expect(examples.map(({ id }) => id)).toEqual(["vqa-rad:0", "flashcard:0"]);
  expect((await read(root, "held-out")).examples.map(({ said }) => said[1])).toEqual(["2", "CT"]);
  expect((await openDataset(root, { format: "flashcards" })).splits.get("train")).toHaveLength(1);
});

test("ScienceQA: options in letters, the hint as context, a picture where there is one", async () => {
  const root = folder({
    "problems.json": {
      "4": {
        question: "which?",
        choices: ["x", "y"],
        answer: 1,
        hint: "look",
        image: "image.png",
        split: "train",
        topic: "t",
      },
      "5": { question: "who?", choices: ["x"], answer: 0, hint: "", image: null, split: "test", topic: "t" },
    },
    "images/train/4/image.png": "x",
  });
  const { format, examples } = await read(root);
  expect(format).toBe("science-qa");
  expect(examples[0]!.said).toEqual([
    "<image>\nwhich?\nContext: look\nOptions:\n(A) x\n(B) y\nAnswer with the option's letter and text.",
    "(B) y",
  ]);
  expect((await read(root, "held-out")).examples[0]!.images).toEqual([]);
});

test("IconQA: text choices, picture choices and blanks", async () => {
  const root = folder({
    "train/choose_txt/1/data.json": { question: "how many?", choices: ["one", "two"], answer: 1 },
    "train/choose_txt/1/image.png": "x",
    "train/choose_img/2/data.json": {
      question: "which?",
      choices: ["choice_0.png", "choice_1.png"],
      answer: 0,
    },
    "train/choose_img/2/image.png": "x",
    "train/choose_img/2/choice_0.png": "x",
    "train/choose_img/2/choice_1.png": "x",
    "train/fill_in_blank/3/data.json": { question: "_ apples", answer: "3" },
    "train/fill_in_blank/3/image.png": "x",
  });
  const { format, examples } = await read(root);
  expect(format).toBe("icon-qa");
  expect(examples.map(({ id, said }) => [id, said[1]])).toEqual([
    ["choose_txt:1", "(B) two"],
    ["choose_img:2", "(A)"],
    ["fill_in_blank:3", "3"],
  ]);
  expect(examples[1]!.images).toHaveLength(3);
});

test("every format has a name of its own and says which files it is made of", () => {
  expect(new Set(DATASET_FORMATS.map((format) => format.name)).size).toBe(DATASET_FORMATS.length);
  for (const format of DATASET_FORMATS) expect(format.expects).not.toBe("");
});
