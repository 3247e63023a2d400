import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openShard } from "../../cli/shard.ts";
import { wordedAs } from "../../client/inventory.ts";
import { folder } from "../data/folder.ts";

const row = (id: number) => ({ id, img: "a.png", label: id % 2, text: `text ${id}` });
const memes = () =>
  folder({
    "train.jsonl": [row(1), row(2), row(3)],
    "test_seen.jsonl": [row(9)],
    "a.png": "x",
    "partition.json": "",
  });

function withPartition(data: string, clients: object[]): string {
  const file = join(data, "partition.json");
  writeFileSync(file, JSON.stringify({ version: 1, clients }));
  return file;
}

test("a client node takes its part of a partition, in its order, with what it keeps", async () => {
  const data = memes();
  const file = withPartition(data, [
    { client: 0, examples: [{ id: "2", keep: ["text", "image"] }] },
    {
      client: 1,
      examples: [
        { id: "3", keep: ["image"] },
        { id: "1", keep: ["text"] },
      ],
    },
  ]);
  const shard = await openShard(data, { file, client: 1 });
  expect(shard.train.map((example) => [example.id, example.images.length])).toEqual([
    ["3", 1],
    ["1", 0],
  ]);
  expect(shard.train[1]!.turns[0]!.content).toContain("based on the text?");
  // The benchmark tests with both modalities.
  expect(shard.heldOut.map((example) => example.images.length)).toEqual([1]);
  const agnostic = wordedAs(shard, "modality-agnostic");
  expect(agnostic.train.map((example) => example.images.length)).toEqual([1, 0]);
  expect(agnostic.train[0]!.turns[0]!.content).toContain(", without considering the modality?");
});

test("without a partition a client node takes all", async () => {
  const shard = await openShard(memes());
  expect(shard.train).toHaveLength(3);
});

test("a part without examples, and a client that is not there, are refused", async () => {
  const data = memes();
  const file = withPartition(data, [{ client: 0, examples: [] }]);
  await expect(openShard(data, { file, client: 0 })).rejects.toMatchObject({ code: "F5103" });
  await expect(openShard(data, { file, client: 7 })).rejects.toMatchObject({ code: "F2006" });
});
