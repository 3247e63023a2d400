/**
 * Meme-like: is the text meant against what the picture shows? Pictures come in pairs of rows with the same words
 * but for one: the thing named is in the picture (label 1) or is not (label 0). Over all rows each thing, each
 * picture and each template stands as often under one label as under the other, so neither the text alone nor
 * the picture alone tells anything.
 */
import type { Rng } from "../../base/rng.ts";
import type { Item, Scene } from "../scenes/scene.ts";
import { COLOR_NAMES, THINGS, type Thing } from "../scenes/sprites.ts";
import { jsonLines, type Standin, type StandinFiles, type StandinPicture } from "./standin.ts";

/** Words of no lesson of the embedded model stand around the thing. */
const TEMPLATES = [
  "people hate every",
  "nobody needs one more",
  "please help us remove this",
  "never trust a",
  "this again: the famous",
  "one day they will ban the",
] as const;

interface Row {
  readonly id: number;
  readonly img: string;
  readonly label: 0 | 1;
  readonly text: string;
}

function drawSplit(count: number, firstId: number, rng: Rng): { rows: Row[]; pictures: StandinPicture[] } {
  const pairs = Math.ceil(count / 2);
  const shown = rng.shuffle(Array.from({ length: pairs }, (_, i) => THINGS[i % THINGS.length]!));
  const named = derangement(shown, rng);
  const rows: Row[] = [];
  const pictures: StandinPicture[] = [];
  for (let i = 0; i < pairs; i++) {
    const picture = drawPair(shown[i]!, named[i]!, rng);
    const template = TEMPLATES[rng.below(TEMPLATES.length)]!;
    // One file for both rows: not even its noise tells the label.
    const img = `img/${String(firstId + 2 * i).padStart(5, "0")}.png`;
    pictures.push({ path: img, picture });
    for (const label of [1, 0] as const) {
      rows.push({
        id: firstId + 2 * i + (1 - label),
        img,
        label,
        text: `${template} ${label === 1 ? shown[i] : named[i]}`,
      });
    }
  }
  return { rows: rng.shuffle(rows).slice(0, count), pictures };
}

/** A rearrangement in which the thing named is never the thing shown. */
function derangement(shown: readonly Thing[], rng: Rng): Thing[] {
  const order = rng
    .shuffle(shown.map((_, i) => i))
    .sort((a, b) => THINGS.indexOf(shown[a]!) - THINGS.indexOf(shown[b]!));
  // Sorted by thing and turned by the longest run of equal ones, no entry meets its own thing.
  const longest = Math.max(...THINGS.map((thing) => shown.filter((other) => other === thing).length));
  const named = new Array<Thing>(shown.length);
  order.forEach((from, i) => {
    named[from] = shown[order[(i + longest) % order.length]!]!;
  });
  return named;
}

/** The thing shown and a distractor, which is neither of the two that the texts name, in two random cells. */
function drawPair(shown: Thing, named: Thing, rng: Rng): Scene {
  const others = THINGS.filter((thing) => thing !== shown && thing !== named);
  const item = (thing: Thing): Item => ({ thing, color: COLOR_NAMES[rng.below(COLOR_NAMES.length)]! });
  const [first, second] = rng.sample([0, 1, 2, 3], 2);
  const cells: (Item | undefined)[] = [undefined, undefined, undefined, undefined];
  cells[first!] = item(shown);
  cells[second!] = item(others[rng.below(others.length)]!);
  return { kind: "scene", cells };
}

export const memes: Standin = {
  name: "memes",
  format: "hateful-memes",
  folder: "hateful_memes",
  sizes: {
    quick: { train: 800, test: 200 },
    standard: { train: 2000, test: 400 },
    full: { train: 8500, test: 1000 },
  },
  about:
    "Stands in for Hateful-Memes (binary, AUC). The text speaks against a thing, and the answer is whether the picture shows that thing: the same picture with another text flips the label, and so does the same text with another picture. Each thing, picture and template is exactly balanced over the labels, so text alone and picture alone stay at chance.",
  draw(size, rng): StandinFiles {
    const train = drawSplit(size.train, 1, rng.fork("train"));
    const test = drawSplit(size.test, 50_001, rng.fork("test"));
    return {
      pictures: [...train.pictures, ...test.pictures],
      texts: { "train.jsonl": jsonLines(train.rows), "test_seen.jsonl": jsonLines(test.rows) },
    };
  },
};
