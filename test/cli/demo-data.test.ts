import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { beforeAll, expect, test } from "vitest";
import { sha256 } from "../../base/hash.ts";
import { CHANCE, SITES, WAYS, writeDemoData } from "../../cli/demo/data.ts";
import { modalitiesOf } from "../../client/inventory.ts";
import type { Example } from "../../data/example.ts";
import { openDataset } from "../../data/open-dataset.ts";
import { COLORS } from "../../data/scenes/sprites.ts";

let directory: string;
const examples = new Map<string, readonly Example[]>();

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "fedloom-demo-"));
  await writeDemoData(directory, 7);
  for (const { name } of SITES)
    examples.set(name, (await openDataset(join(directory, name))).splits.get("train")!);
  examples.set("held-out", (await openDataset(join(directory, "held-out"))).splits.get("held-out")!);
}, 120_000); // hundreds of pictures, on a loaded machine

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

/** The colors seen in a picture, found by comparing pixels: apart from the code that paints. */
async function colorsIn(png: Uint8Array): Promise<Set<string>> {
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  const counts = new Map<string, number>();
  for (let at = 0; at < data.length; at += info.channels) {
    for (const [name, color] of Object.entries(COLORS)) {
      // Noise has a deviation of 8 of 255 on each channel: five of them, and colors lie farther apart.
      if (color.every((value, channel) => Math.abs(255 * value - data[at + channel]!) < 40))
        counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  return new Set([...counts].filter(([, pixels]) => pixels > 10).map(([name]) => name));
}

test("a site with pictures alone sees one parcel, whose color is the way's", async () => {
  for (const { images, label } of examples.get("studio")!.slice(0, 16)) {
    const png = await images[0]!.read();
    expect((await sharp(png).metadata()).format).toBe("png");
    const [color, ...others] = await colorsIn(png);
    expect(others).toEqual([]);
    expect(WAYS[color as keyof typeof WAYS]).toBe(label); // as: one of the four, or the test fails
  }
});

test("a site with pictures and text sees three parcels, and the answer's color is among them", async () => {
  for (const { images, label, turns } of examples.get("harbor")!.slice(0, 16)) {
    const seen = await colorsIn(await images[0]!.read());
    expect(seen.size).toBe(3);
    const way = (color: string) => WAYS[color as keyof typeof WAYS]; // as: pictures hold the four colors only
    expect([...seen].map(way)).toContain(label);
    expect(turns[0]!.content).toMatch(/^<image>\nship the [a-z]+\.$/);
  }
});

test("a site with text alone reads three parcels, and the note names one of the answer's color", () => {
  for (const { turns, label } of examples.get("archive")!) {
    const [list, note] = turns[0]!.content.split("\n");
    const parcels = list!.split(", ").map((parcel) => parcel.split(" "));
    expect(new Set(parcels.map(([color]) => color)).size).toBe(3);
    expect(new Set(parcels.map(([, mark]) => mark)).size).toBe(3);
    const [color] = parcels.find(([, mark]) => note === `ship the ${mark}.`)!;
    expect(WAYS[color as keyof typeof WAYS]).toBe(label); // as: one of the four, or the test fails
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
