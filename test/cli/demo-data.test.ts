import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { beforeAll, expect, test } from "vitest";
import { sha256 } from "../../base/hash.ts";
import { CHANCE, SITES, writeDemoData } from "../../cli/demo/data.ts";
import { modalitiesOf } from "../../client/inventory.ts";
import type { Example } from "../../data/example.ts";
import { openDataset } from "../../data/open-dataset.ts";

let directory: string;
const examples = new Map<string, readonly Example[]>();

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "fedloom-demo-"));
  await writeDemoData(directory, 7);
  for (const { name } of SITES)
    examples.set(name, (await openDataset(join(directory, name))).splits.get("train")!);
  examples.set("held-out", (await openDataset(join(directory, "held-out"))).splits.get("held-out")!);
});

test("two sites hold pictures with text, one text alone, one pictures alone", () => {
  const held = SITES.map(({ name }) => new Set(examples.get(name)!.map(modalitiesOf)));
  expect(held).toEqual([
    new Set(["image+text"]),
    new Set(["image+text"]),
    new Set(["text"]),
    new Set(["image"]),
  ]);
});

test("every answer comes equally often in every set, so that guessing scores the chance level", () => {
  for (const set of examples.values()) {
    const counts = new Map<string, number>();
    for (const { label } of set) counts.set(label!, (counts.get(label!) ?? 0) + 1);
    expect([...counts.values()]).toEqual(new Array(1 / CHANCE).fill(set.length * CHANCE));
  }
});

test("the held-out set holds all three kinds, in equal parts, and none of the training pictures", async () => {
  const heldOut = examples.get("held-out")!;
  const kinds = heldOut.map(modalitiesOf);
  for (const kind of ["image+text", "image", "text"]) {
    expect(kinds.filter((one) => one === kind)).toHaveLength(heldOut.length / 3);
  }
  const hashesOf = (set: readonly Example[]) =>
    Promise.all(set.flatMap(({ images }) => images).map(async (image) => sha256(await image.read())));
  const trained = new Set((await Promise.all(SITES.map(({ name }) => hashesOf(examples.get(name)!)))).flat());
  for (const hash of await hashesOf(heldOut)) expect(trained.has(hash)).toBe(false);
});

test("a picture is a PNG whose strongest color is the answer", async () => {
  const strongest = { red: [0], green: [1], blue: [2], yellow: [0, 1] };
  for (const { images, label } of examples.get("studio")!.slice(0, 16)) {
    const image = sharp(await images[0]!.read());
    expect((await image.metadata()).format).toBe("png");
    const means = (await image.stats()).channels.map(({ mean }) => mean);
    const above = means.map((value, i) => [value, i]).filter(([value]) => value! > 0.8 * Math.max(...means));
    expect(above.map(([, i]) => i)).toEqual(strongest[label as keyof typeof strongest]); // as: one of the four
  }
});

test("equal seeds give equal bytes, other seeds others", async () => {
  const bytesOf = async (seed: number): Promise<string> => {
    const fresh = await mkdtemp(join(tmpdir(), "fedloom-demo-"));
    await writeDemoData(fresh, seed);
    const files = (await readdir(fresh, { recursive: true }))
      .filter((name) => /\.(png|jsonl)$/.test(name))
      .sort();
    return sha256(
      (await Promise.all(files.map(async (name) => sha256(await readFile(join(fresh, name)))))).join(),
    );
  };
  const [first, second, other] = [await bytesOf(7), await bytesOf(7), await bytesOf(8)];
  expect(second).toBe(first);
  expect(other).not.toBe(first);
});
