/** Every way a dataset can be wrong is told with its file and line. */
import { truncateSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openDataset } from "../../data/open-dataset.ts";
import { folder } from "./folder.ts";

const turns = [
  { role: "user", content: "q" },
  { role: "assistant", content: "a" },
];

const TABLE = "crisismmd_datasplit_all/task_humanitarian_text_img_train.tsv";

const CASES: readonly [
  what: string,
  files: Record<string, string | object>,
  at: string,
  code: string,
  message: string,
][] = [
  [
    "a line that is no JSON",
    { "train.jsonl": '{"messages": []}\n{oops\n' },
    "train.jsonl:1",
    "F2001",
    "needs a user turn",
  ],
  [
    "a turn of unknown role",
    { "train.jsonl": [{ messages: [{ role: "robot", content: "x" }] }] },
    "train.jsonl:1",
    "F2001",
    'got "robot"',
  ],
  [
    "a conversation that the user ends",
    { "train.jsonl": [{ messages: turns.slice(0, 1) }] },
    "train.jsonl:1",
    "F2001",
    "the last turn must be the assistant's",
  ],
  [
    "content of an unknown kind",
    { "train.jsonl": [{ messages: [{ role: "user", content: [{ type: "smell" }] }] }] },
    "train.jsonl:1",
    "F2001",
    "content of turn 1",
  ],
  [
    "a picture that is not there",
    { "train.jsonl": [{ messages: turns, images: ["gone.png"] }] },
    "train.jsonl:1",
    "F2003",
    '"gone.png" is not there',
  ],
  [
    "a picture on the web",
    { "train.jsonl": [{ messages: turns, images: ["https://x.test/a.png"] }] },
    "train.jsonl:1",
    "F2003",
    "must lie on this machine",
  ],
  [
    "more marks than pictures",
    { "train.jsonl": [{ messages: [{ role: "user", content: "<image><image>" }, turns[1]] }] },
    "train.jsonl:1",
    "F2001",
    "2 marks",
  ],
  [
    "videos",
    { "train.jsonl": [{ messages: turns, videos: ["a.mp4"] }] },
    "train.jsonl:1",
    "F2001",
    "videos are not read",
  ],
  [
    "an id that comes twice",
    {
      "train.jsonl": [
        { id: 5, messages: turns },
        { id: "5", messages: turns },
      ],
    },
    "train.jsonl:2",
    "F2004",
    'the id "5" is taken',
  ],
  [
    "a meme without its field",
    {
      "train.jsonl": [
        { id: 1, img: "a", text: "t", label: 0 },
        { id: 2, img: "a", text: "t" },
      ],
      a: "x",
    },
    "train.jsonl:2",
    "F2001",
    'lacks "label", it has id, img, text',
  ],
  [
    "a meme of unknown label",
    { "train.jsonl": [{ id: 1, img: "a", text: "t", label: 7 }], a: "x" },
    "train.jsonl:1",
    "F2001",
    "must be 0 or 1, got 7",
  ],
  [
    "a tweet of unknown label",
    { [TABLE]: "image_id\ttweet_text\timage\tlabel_image\n1\tx\ta\tlandslide\n", a: "x" },
    "train.tsv:2",
    "F2001",
    "got landslide",
  ],
  [
    "a picture that a tweet lacks",
    { [TABLE]: "image_id\ttweet_text\timage\tlabel_image\n1\tx\ta.jpg\tvehicle_damage\n" },
    "train.tsv:2",
    "F2003",
    '"a.jpg" is not there',
  ],
  [
    "an item of an array that is no object",
    { "train.json": '[\n {"question": "q", "answer": "a"},\n 5\n]' },
    "train.json:3",
    "F2001",
    "must be a JSON object, got a number",
  ],
  [
    "a dataset_info.json that names a file that is not there",
    { "dataset_info.json": { x: { file_name: "gone.json" } } },
    "dataset_info.json",
    "F2001",
    "which is not there",
  ],
];

test.each(CASES)("%s is told with its place", async (_, files, at, code, message) => {
  const root = folder(files);
  const refusal = await openDataset(root).catch((error: unknown) => error);
  expect(refusal).toMatchObject({ code });
  expect(String(refusal)).toContain(`${at}: `);
  expect(String(refusal)).toContain(message);
  const collected = await openDataset(root, { onProblem: "collect" });
  expect(collected.problems.length).toBeGreaterThan(0);
});

test("bad rows are left out and the others stay where problems are collected", async () => {
  const root = folder({ "train.jsonl": `${JSON.stringify({ messages: turns })}\n{oops\n\n"text"\n` });
  const dataset = await openDataset(root, { onProblem: "collect" });
  expect(dataset.splits.get("train")).toHaveLength(1);
  expect(dataset.problems.map((problem) => problem.line)).toEqual([2, 4]);
});

test("a JSON document beyond what a string can hold is told to become JSON lines", async () => {
  const root = folder({ "train.json": '[{"question": "q", "answer": "a"}]' });
  truncateSync(join(root, "train.json"), 600 * 2 ** 20); // sparse: no bytes are written
  await expect(openDataset(root)).rejects.toThrow(
    "a JSON document may have 500 MiB, got 600 MiB; write it as JSON lines",
  );
});

test("a place where nothing is, or nothing known, says what would be known", async () => {
  await expect(openDataset(join(folder({}), "gone"))).rejects.toMatchObject({ code: "F2002" });
  await expect(openDataset(folder({ "notes.txt": "x" }))).rejects.toThrow(
    /it holds notes\.txt; wanted is one of\n {2}hateful-memes: /,
  );
});

test("a directory of datasets names them", async () => {
  const row = { id: 1, img: "a", text: "t", label: 0 };
  const root = folder({ "memes/train.jsonl": [row], "chat/train.jsonl": [{ messages: turns }] });
  await expect(openDataset(root)).rejects.toThrow(
    "it holds several; open one of chat (messages), memes (hateful-memes)",
  );
});

test("a format that is asked for names the file it misses", async () => {
  await expect(openDataset(folder({ "notes.txt": "x" }), { format: "crisis-mmd" })).rejects.toThrow(
    /"crisismmd_datasplit_all\/task_humanitarian_text_img_train\.tsv" is expected there, or below crisis-mmd\/ or raw_data\//,
  );
});

test("an unknown format is refused with the nearest known one", async () => {
  await expect(openDataset(folder({}), { format: "hateful_meme" })).rejects.toThrow(
    'did you mean "hateful-memes"?',
  );
});
