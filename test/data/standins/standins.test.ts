import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createRng } from "../../../base/rng.ts";
import { openDataset } from "../../../data/open-dataset.ts";
import type { Scene } from "../../../data/scenes/scene.ts";
import { STANDINS } from "../../../data/standins/index.ts";
import { makeStandin, standinNamed } from "../../../data/standins/make.ts";
import { memes } from "../../../data/standins/memes.ts";

const SMALL = { train: 160, test: 40 };

describe("the meme-like set", () => {
  const { pictures, texts } = memes.draw(SMALL, createRng(1));
  const rows = texts["train.jsonl"]!.trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const sceneOf = (img: string): Scene => {
    const found = pictures.find(({ path }) => path === img)!.picture;
    if (found.kind !== "scene") throw new TypeError("a meme shows a scene");
    return found;
  };
  const thingOf = ({ text }: { text: string }): string => text.split(" ").at(-1)!;

  test("labels a row by whether its picture shows the thing that its text names", () => {
    for (const row of rows) {
      const shown = sceneOf(row.img).cells.some((item) => item?.thing === thingOf(row));
      expect(shown).toBe(row.label === 1);
    }
  });

  test("balances every thing and every picture over the labels, so that one modality alone tells nothing", () => {
    const balance = (key: (row: { img: string; text: string }) => string): number[] => {
      const sums = new Map<string, number>();
      for (const row of rows) sums.set(key(row), (sums.get(key(row)) ?? 0) + (row.label === 1 ? 1 : -1));
      return [...sums.values()];
    };
    expect(balance(({ img }) => img).every((sum) => sum === 0)).toBe(true);
    expect(balance(thingOf).every((sum) => sum === 0)).toBe(true);
    expect(balance(({ text }) => text.slice(0, text.lastIndexOf(" "))).every((sum) => sum === 0)).toBe(true);
  });
});

describe("written to disk", () => {
  const out = mkdtempSync(join(tmpdir(), "fedloom-standins-"));
  const folders = ["hateful_memes", "crisis-mmd", "medical", "medical/Slake1.0"];
  const splits = new Map<string, { train: number; heldOut: number }>();

  // Two thousand pictures are painted and written: seconds, and more on a busy machine.
  beforeAll(async () => {
    for (const standin of STANDINS) await makeStandin(standin, out, { profile: "quick", seed: 7 });
    for (const folder of folders) {
      const dataset = await openDataset(join(out, folder), { checkMedia: true });
      splits.set(folder, {
        train: dataset.splits.get("train")?.length ?? 0,
        heldOut: dataset.splits.get("held-out")?.length ?? 0,
      });
    }
  }, 120_000);
  afterAll(() => rmSync(out, { recursive: true }));

  test("every set is read back by the loader of the published format, pictures and all", () => {
    expect(splits.get("hateful_memes")).toEqual({ train: 800, heldOut: 200 });
    expect(splits.get("crisis-mmd")).toEqual({ train: 800, heldOut: 200 });
    // 600 scans and 300 flashcards to train on; the held-out part joins the radiology test and the shifted one.
    expect(splits.get("medical")).toEqual({ train: 900, heldOut: 400 });
    expect(splits.get("medical/Slake1.0")).toEqual({ train: 0, heldOut: 200 });
  });

  test("the same seed gives the same bytes, another seed others", async () => {
    const hash = async (seed: number): Promise<string> =>
      (await makeStandin(standinNamed("slake"), join(out, `again-${seed}`), { profile: "quick", seed }))
        .sha256;
    expect(await hash(7)).toBe(await hash(7));
    expect(await hash(7)).not.toBe(await hash(8));
  });
});

test("an unknown name is refused with the known ones", () => {
  expect(() => standinNamed("mems")).toThrow(
    'Cannot make dataset "mems": known are memes, crisis, radiology, flashcards, slake',
  );
});
