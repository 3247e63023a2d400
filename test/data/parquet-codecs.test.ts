import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { examplesOf } from "../../data/dataset.ts";
import { openDataset } from "../../data/open-dataset.ts";

const folder = join(import.meta.dirname, "parquet", "codecs");
const codecs = readdirSync(folder).sort();
const sizeOf = (codec: string): number => statSync(join(folder, codec, "train-00000-of-00001.parquet")).size;

test("files of every codec are there, and none of them is a copy of the plain one", () => {
  expect(codecs).toEqual(["brotli", "gzip", "lz4", "none", "snappy", "zstd"]);
  for (const codec of codecs) if (codec !== "none") expect(sizeOf(codec)).toBeLessThan(sizeOf("none"));
});

describe.each(codecs)("parquet compressed with %s", (codec) => {
  test("gives words and pictures over two row groups", async () => {
    const examples = examplesOf(await openDataset(join(folder, codec)), "train");
    expect(examples.map(({ turns }) => turns.map(({ content }) => content))).toEqual(
      Array.from({ length: 40 }, (_, i) => [
        expect.stringContaining(`what is the number that this picture shows, ${i}?`),
        `number ${i}`,
      ]),
    );
    // The first row of the file and one of the second row group, which begins at row 25.
    expect([...(await examples[0]!.images[0]!.read())]).toEqual([0, 1, 2]);
    expect([...(await examples[31]!.images[0]!.read())]).toEqual([31, 1, 2]);
  });
});
