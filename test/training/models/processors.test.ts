/** Image processors against transformers' own, to the bit (test/golden/preprocessing/make_processors.py). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { expect, test } from "vitest";
import { sha256 } from "../../../base/hash.ts";
import { imageProcessor } from "../../../training/models/image-processor.ts";

const golden: {
  readonly pictures: readonly { readonly width: number; readonly height: number; readonly data: string }[];
  readonly cases: readonly {
    readonly config: Parameters<typeof imageProcessor>[0];
    readonly results: readonly {
      readonly shape: readonly number[];
      readonly rows: number;
      readonly columns: number;
      readonly sha256: string;
    }[];
  }[];
} = JSON.parse(readFileSync(join(import.meta.dirname, "../../golden/preprocessing/processors.json"), "utf8"));

const cases = golden.cases.flatMap(({ config, results }, c) =>
  results.map((wanted, i) => {
    const { width, height } = golden.pictures[i]!;
    return { name: `${config.image_processor_type} ${c}, ${width} x ${height}`, config, wanted, picture: i };
  }),
);

test("there are pictures to compare with", () => {
  expect(cases.length).toBe(50);
});

test.each(cases)("$name", async ({ config, wanted, picture }) => {
  const { width, height, data } = golden.pictures[picture]!;
  const raw = { width, height, channels: 3 } as const;
  const png = await sharp(Buffer.from(data, "base64"), { raw }).png().toBuffer();
  const { frames, rows, columns } = await imageProcessor(config, "preprocessor_config.json").process(
    png,
    "p.png",
  );
  const [frame] = frames;
  expect([frames.length, 3, frame!.height, frame!.width]).toEqual(wanted.shape);
  expect([rows, columns]).toEqual([wanted.rows, wanted.columns]);
  const bytes = Buffer.concat(frames.map(({ pixels }) => new Uint8Array(pixels.buffer)));
  expect(sha256(bytes)).toBe(wanted.sha256);
});
