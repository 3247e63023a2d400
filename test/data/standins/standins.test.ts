import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createRng } from "../../../base/rng.ts";
import { openDataset } from "../../../data/open-dataset.ts";
import { CRISIS_CLASSES } from "../../../data/prompts/multiple-choice.ts";
import { PLACES, type Scan, type Scene } from "../../../data/scenes/scene.ts";
import { crisis } from "../../../data/standins/crisis.ts";
import { STANDINS } from "../../../data/standins/index.ts";
import { makeStandin, standinNamed } from "../../../data/standins/make.ts";
import { flashcards, radiology, slake } from "../../../data/standins/medical.ts";
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

/** Rows of a drawn table by its path. */
function tsvRows(texts: Readonly<Record<string, string>>, path: string): Record<string, string>[] {
  const [head, ...lines] = texts[path]!.trim()
    .split("\n")
    .map((line) => line.split("\t"));
  return lines.map((line) => Object.fromEntries(head!.map((name, i) => [name, line[i]!])));
}

describe("the crisis-like set", () => {
  const { pictures, texts } = crisis.draw({ train: 800, test: 0 }, createRng(1));
  const rows = tsvRows(texts, "crisismmd_datasplit_all/task_humanitarian_text_img_train.tsv");
  const shown = new Map(
    pictures.map(({ path, picture }) => {
      if (picture.kind !== "scene") throw new TypeError("a tweet shows a scene");
      const things = picture.cells.flatMap((item) => item?.thing ?? []);
      return [path, things.sort().join(" ")];
    }),
  );
  const labelsOf = (key: (row: Record<string, string>) => string): Map<string, Set<string>> => {
    const labels = new Map<string, Set<string>>();
    for (const row of rows) labels.set(key(row), (labels.get(key(row)) ?? new Set()).add(row.label_image!));
    return labels;
  };
  const inPicture = labelsOf((row) => shown.get(row.image!)!);
  const inText = labelsOf((row) => row.tweet_text!);
  const tells = (labels: ReadonlySet<string>): boolean => labels.size === 1;

  test("has the eight published classes, skewed as they are", () => {
    const counts = new Map<string, number>();
    for (const { label_image: name = "" } of rows) counts.set(name, (counts.get(name) ?? 0) + 1);
    expect([...counts.keys()].sort()).toEqual([...CRISIS_CLASSES].sort());
    // not_humanitarian has a share of 0.26, the rarest class 0.05.
    expect(counts.get("not_humanitarian")).toBeGreaterThan(4 * counts.get("missing_or_found_people")!);
  });

  test("shows a pair of things that only one class has, or bare ground; says a class's phrase, or nothing", () => {
    expect([...inPicture].filter(([, labels]) => !tells(labels)).map(([things]) => things)).toEqual([""]);
    expect([...inPicture].filter(([, labels]) => tells(labels))).toHaveLength(CRISIS_CLASSES.length);
    expect([...inText].filter(([, labels]) => tells(labels))).toHaveLength(2 * CRISIS_CLASSES.length);
    expect([...inText].filter(([, labels]) => !tells(labels))).toHaveLength(3);
  });

  test("tells by each modality alone about two rows of three, by both together every row", () => {
    const picture = rows.map((row) => tells(inPicture.get(shown.get(row.image!)!)!));
    const text = rows.map((row) => tells(inText.get(row.tweet_text!)!));
    const share = (told: readonly boolean[]): number => told.filter(Boolean).length / rows.length;
    // 65 % of 800 rows: a standard deviation is 1.7 points.
    expect(Math.abs(share(picture) - 0.65)).toBeLessThan(0.06);
    expect(Math.abs(share(text) - 0.65)).toBeLessThan(0.06);
    expect(share(picture.map((told, i) => told || text[i]!))).toBe(1);
  });
});

describe("the radiology-like set", () => {
  const { pictures, texts } = radiology.draw({ train: 600, test: 200 }, createRng(1));
  const rows: Record<string, string>[] = JSON.parse(texts["VQA_RAD Dataset Public.json"]!);
  const scanOf = (name: string): Scan => {
    const found = pictures.find(({ path }) => path.endsWith(`/${name}`))!.picture;
    if (found.kind !== "scan") throw new TypeError("a question is about a scan");
    return found;
  };

  test("asks open and closed questions, of which the closed ones are answered yes or no", () => {
    const types = new Set(rows.map((row) => row.answer_type));
    expect(types).toEqual(new Set(["OPEN", "CLOSED"]));
    for (const { answer_type, answer } of rows) {
      expect(["yes", "no"].includes(answer!)).toBe(answer_type === "CLOSED");
    }
  });

  test("answers by what the scan shows", () => {
    for (const { question, answer, image_name, image_organ } of rows) {
      const scan = scanOf(image_name!);
      const places = PLACES.filter((_, i) => scan.spots[i]);
      expect(image_organ).toBe(scan.part.toUpperCase());
      if (question === "is this normal") expect(answer).toBe(places.length === 0 ? "yes" : "no");
      if (question === "where is the lesion") expect(places).toEqual([answer]);
      if (question?.endsWith("at the left")) {
        expect(answer).toBe(places.some((place) => place.endsWith("left")) ? "yes" : "no");
      }
    }
  });

  test("has a shifted test set that asks the same in words that training has not", () => {
    const shifted: Record<string, string>[] = JSON.parse(
      slake.draw({ train: 0, test: 200 }, createRng(1)).texts["test.json"]!,
    );
    const questions = new Set(rows.map(({ question }) => question));
    const answers = new Set(rows.map(({ answer }) => answer));
    expect(shifted.filter(({ question }) => questions.has(question))).toEqual([]);
    expect(shifted.every(({ answer }) => answers.has(answer))).toBe(true);
  });
});

test("the flashcards have one answer of two words a condition, whatever the question", () => {
  const { texts, pictures } = flashcards.draw({ train: 600, test: 0 }, createRng(1));
  const rows: { input: string; output: string }[] = JSON.parse(Object.values(texts)[0]!);
  const answers = new Map<string, Set<string>>();
  for (const { input, output } of rows) {
    const condition = input.split(" ").at(-1)!;
    answers.set(condition, (answers.get(condition) ?? new Set()).add(output));
  }
  expect(pictures).toEqual([]);
  expect(answers.size).toBe(24);
  for (const own of answers.values()) expect([...own].map((answer) => answer.split(" ").length)).toEqual([2]);
  expect(new Set([...answers.values()].flatMap((own) => [...own])).size).toBe(24);
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
