/**
 * The demo's data: four sites sort parcels, each with what it has, and a held-out set.
 *
 *   picture + text   a picture of three marked parcels, and a note that names one of them
 *   text             the parcels in words, and the note
 *   picture          a picture of one parcel, and nothing else
 *
 * The color of the parcel decides the way it goes, by a rule that no model can know beforehand. A site that holds
 * text alone never sees a picture, and the other way round; the adapter that they train together has to sort
 * all three kinds. Everything is drawn from one seed.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { createRng, type Rng } from "../../base/rng.ts";
import { drawMark, type Mark } from "../../data/scenes/marks.ts";
import { type Item, PICTURE_SIDE, paint } from "../../data/scenes/scene.ts";

export type Kind = "picture + text" | "picture" | "text";
export const KINDS: readonly Kind[] = ["picture + text", "picture", "text"];

export interface Site {
  readonly name: string;
  readonly kind: Kind;
  readonly examples: number;
}

export const SITES: readonly Site[] = [
  { name: "harbor", kind: "picture + text", examples: 96 },
  { name: "market", kind: "picture + text", examples: 96 },
  { name: "archive", kind: "text", examples: 96 },
  { name: "studio", kind: "picture", examples: 96 },
];

/** Held-out examples of each kind. Ways come equally often, so that guessing one gives the chance level. */
const HELD_OUT_OF_KIND = 48;

/** The rule to be learned. */
export const WAYS = { red: "north", green: "east", blue: "south", yellow: "west" } as const;
type ParcelColor = keyof typeof WAYS;
const colors = Object.keys(WAYS) as ParcelColor[]; // as: Object.keys() does not keep the type of the keys
const ways = Object.values(WAYS);

/** Share of right answers that guessing gives. */
export const CHANCE = 1 / ways.length;

/** Parcels in a picture or a list that a note chooses from. */
const PARCELS = 3;

/**
 * Writes `<directory>/<site>/train.jsonl` with its PNG files for each site, and `<directory>/held-out/held-out.jsonl`.
 *
 * @returns the number of examples written
 */
export async function writeDemoData(directory: string, seed: number): Promise<number> {
  const rng = createRng(seed).fork("demo data");
  let written = 0;
  for (const site of SITES) {
    const rows = rowsOf(site.kind, site.examples);
    written += await writeSet(join(directory, site.name), "train", rows, rng.fork(site.name));
  }
  const heldOut = KINDS.flatMap((kind) => rowsOf(kind, HELD_OUT_OF_KIND));
  return written + (await writeSet(join(directory, "held-out"), "held-out", heldOut, rng.fork("held-out")));
}

/**
 * Writes `<directory>/train.jsonl`: as many examples of each kind as the sites hold together, for runs that share
 * one dataset out among their clients.
 */
export function writePooledData(directory: string, seed: number): Promise<number> {
  const rows = SITES.flatMap((site) => rowsOf(site.kind, site.examples));
  return writeSet(directory, "train", rows, createRng(seed).fork("demo data", "pooled"));
}

interface Row {
  readonly kind: Kind;
  readonly color: ParcelColor;
}

/** `count` rows of one kind, each color equally often. */
function rowsOf(kind: Kind, count: number): Row[] {
  return Array.from({ length: count }, (_, i) => ({ kind, color: colors[i % colors.length]! }));
}

async function writeSet(directory: string, split: string, rows: readonly Row[], rng: Rng): Promise<number> {
  await mkdir(join(directory, "images"), { recursive: true });
  const lines: string[] = [];
  for (const [index, row] of rng.fork("order").shuffle(rows).entries()) {
    const chance = rng.fork("row", index);
    const id = `${split}-${String(index).padStart(3, "0")}`;
    const images = row.kind === "text" ? [] : [`images/${id}.png`];
    const parcels = drawParcels(row, chance);
    for (const image of images) await writeFile(join(directory, image), await photograph(parcels, chance));
    const label = WAYS[row.color];
    const messages = [
      { role: "user", content: question(row.kind, parcels, chance) },
      { role: "assistant", content: label },
    ];
    lines.push(JSON.stringify({ id, messages, images, label, options: ways }));
  }
  await writeFile(join(directory, `${split}.jsonl`), `${lines.join("\n")}\n`);
  return lines.length;
}

type Parcels = readonly [wanted: Item, ...others: Item[]];

/** The parcel to be sorted first, then others with other marks and other colors. */
function drawParcels({ kind, color }: Row, rng: Rng): Parcels {
  const others = rng.shuffle(colors.filter((other) => other !== color));
  const marks = new Set<Mark>();
  while (marks.size < PARCELS) marks.add(drawMark(rng));
  const [mark, ...otherMarks] = [...marks];
  const wanted: Item = { thing: mark!, color };
  if (kind === "picture") return [wanted];
  return [wanted, ...otherMarks.map((thing, i): Item => ({ thing, color: others[i]! }))];
}

/** A PNG of 32 x 32 pixels with the parcels in cells drawn by lot. */
async function photograph(parcels: Parcels, rng: Rng): Promise<Uint8Array> {
  const cells: (Item | undefined)[] = [undefined, undefined, undefined, undefined];
  const places = rng.sample([0, 1, 2, 3], parcels.length);
  for (const [i, place] of places.entries()) cells[place] = parcels[i];
  const raw = { width: PICTURE_SIDE, height: PICTURE_SIDE, channels: 3 } as const;
  return sharp(paint({ kind: "scene", cells }, rng), { raw })
    .png()
    .toBuffer();
}

function question(kind: Kind, parcels: Parcels, rng: Rng): string {
  const note = `ship the ${parcels[0].thing}.`;
  switch (kind) {
    case "picture + text":
      return `<image>\n${note}`;
    case "picture":
      return "<image>";
    case "text": {
      const list = rng.shuffle(parcels).map(({ thing, color }) => `${color} ${thing}`);
      return `${list.join(", ")}\n${note}`;
    }
    default:
      return kind satisfies never;
  }
}
