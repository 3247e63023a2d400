import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { crop, type Picture, resize } from "../../../training/models/resample.ts";

interface Golden {
  readonly cases: readonly {
    readonly width: number;
    readonly height: number;
    readonly data: string;
    readonly results: readonly {
      readonly width: number;
      readonly height: number;
      readonly resample: number;
      readonly data: string;
    }[];
  }[];
}

/** Recorded from Pillow by test/golden/preprocessing/make.py, which names the versions. */
const golden: Golden = JSON.parse(
  readFileSync(join(import.meta.dirname, "../../golden/preprocessing/resize.json"), "utf8"),
);

const bytes = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, "base64"));

const cases = golden.cases.flatMap(({ results, data, width, height }) =>
  results.map((wanted) => ({
    name: `${width} x ${height} to ${wanted.width} x ${wanted.height}, filter ${wanted.resample}`,
    picture: { width, height, channels: 3, data: bytes(data) } satisfies Picture,
    wanted,
  })),
);

test("there are pictures to compare with", () => {
  expect(cases.length).toBe(36);
});

test.each(cases)("$name has the bytes that Pillow gives", ({ picture, wanted }) => {
  const { width, height, data } = resize(picture, wanted.width, wanted.height, wanted.resample);
  expect([width, height]).toEqual([wanted.width, wanted.height]);
  expect(Buffer.compare(data, bytes(wanted.data))).toBe(0);
});

test("a crop that reaches beyond the picture is black there", () => {
  const picture: Picture = { width: 2, height: 2, channels: 1, data: Uint8Array.of(1, 2, 3, 4) };
  expect(crop(picture, -1, 1, 3, 2)).toEqual({
    width: 3,
    height: 2,
    channels: 1,
    data: Uint8Array.of(0, 3, 4, 0, 0, 0),
  });
});
