/**
 * The demo's data: four sites that hold records of colored shapes, each in its own way, and a held-out set.
 *
 *   picture + text   a picture and the question for its color
 *   picture          a picture and nothing else
 *   text             a written description and the question
 *
 * A site that holds text alone never sees a picture, and the other way round; the adapter that they train
 * together has to answer all three kinds. Everything is drawn from one seed.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createRng, type Rng } from "../../base/rng.ts";
import { COLORS, type Color, drawPicture, SHAPES, type Shape } from "./pictures.ts";

export type Kind = "picture + text" | "picture" | "text";

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

/** Held-out examples of each kind. Colors come equally often, so that guessing one gives the chance level. */
const HELD_OUT_OF_KIND = 48;

const colors = Object.keys(COLORS) as Color[]; // as: Object.keys() does not keep the type of the keys
const shapes = Object.keys(SHAPES) as Shape[]; // as: the same

/** Share of right answers that guessing gives. */
export const CHANCE = 1 / colors.length;

const SIZES = ["small", "large", "tiny", "huge"];
const PLACES = ["shelf", "table", "floor", "wall", "door", "box"];
const QUESTION = "What color?";

/**
 * Writes `<directory>/<site>/train.jsonl` with its PNG files for each site, and `<directory>/held-out/held-out.jsonl`.
 *
 * @returns the number of examples written
 */
export async function writeDemoData(directory: string, seed: number): Promise<number> {
  const rng = createRng(seed).fork("demo data");
  let written = 0;
  for (const site of SITES) {
    const rows = kindsOf(site.kind, site.examples);
    written += await writeSet(join(directory, site.name), "train", rows, rng.fork(site.name));
  }
  const heldOut = (["picture + text", "picture", "text"] as const).flatMap((kind) =>
    kindsOf(kind, HELD_OUT_OF_KIND),
  );
  return written + (await writeSet(join(directory, "held-out"), "held-out", heldOut, rng.fork("held-out")));
}

/**
 * Writes `<directory>/train.jsonl`: as many examples of each kind as the sites hold together, for runs that share
 * one dataset out among their clients.
 */
export function writePooledData(directory: string, seed: number): Promise<number> {
  const rows = SITES.flatMap((site) => kindsOf(site.kind, site.examples));
  return writeSet(directory, "train", rows, createRng(seed).fork("demo data", "pooled"));
}

interface Row {
  readonly kind: Kind;
  readonly color: Color;
}

/** `count` rows of one kind, each color equally often. */
function kindsOf(kind: Kind, count: number): Row[] {
  return Array.from({ length: count }, (_, i) => ({ kind, color: colors[i % colors.length]! }));
}

async function writeSet(directory: string, split: string, rows: readonly Row[], rng: Rng): Promise<number> {
  await mkdir(join(directory, "images"), { recursive: true });
  const lines: string[] = [];
  for (const [index, { kind, color }] of rng.fork("order").shuffle(rows).entries()) {
    const chance = rng.fork("row", index);
    const shape = pick(shapes, chance);
    const id = `${split}-${String(index).padStart(3, "0")}`;
    const images = kind === "text" ? [] : [`images/${id}.png`];
    for (const image of images)
      await writeFile(join(directory, image), await drawPicture(color, shape, chance));
    const messages = [
      { role: "user", content: question(kind, color, shape, chance) },
      { role: "assistant", content: color },
    ];
    lines.push(JSON.stringify({ id, messages, images, label: color, options: colors }));
  }
  await writeFile(join(directory, `${split}.jsonl`), `${lines.join("\n")}\n`);
  return lines.length;
}

function question(kind: Kind, color: Color, shape: Shape, rng: Rng): string {
  switch (kind) {
    case "picture + text":
      return `<image>${QUESTION}`;
    case "picture":
      return "<image>";
    case "text":
      return `A ${pick(SIZES, rng)} ${color} ${shape} on the ${pick(PLACES, rng)}. ${QUESTION}`;
    default:
      return kind satisfies never;
  }
}

function pick<T>(items: readonly T[], rng: Rng): T {
  return items[rng.below(items.length)]!;
}
