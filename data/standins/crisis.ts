/**
 * Crisis-like: eight classes with the skew of the real set. A row has a cue in the picture (the class's pair of
 * things, which no other class has), in the text (one of the class's phrases), or in both; a third of the pictures
 * show bare ground and a third of the texts say nothing. One modality alone tells about two of three rows, both together tell all.
 */
import type { Rng } from "../../base/rng.ts";
import type { Item, Scene } from "../scenes/scene.ts";
import { COLOR_NAMES, type Thing } from "../scenes/sprites.ts";
import type { Standin, StandinFiles, StandinPicture } from "./standin.ts";

interface CrisisClass {
  readonly name: string;
  readonly share: number;
  readonly things: readonly [Thing, Thing];
  readonly phrases: readonly [string, string];
}

/** Names and order as the published options have them; shares as in its training set, the rarest raised to be learnable. */
const CLASSES: readonly CrisisClass[] = [
  {
    name: "affected_individuals",
    share: 0.06,
    things: ["person", "tree"],
    phrases: ["many families lost their home", "people need food and water"],
  },
  {
    name: "infrastructure_and_utility_damage",
    share: 0.13,
    things: ["house", "triangle"],
    phrases: ["the bridge is down", "no water in the house after the storm"],
  },
  {
    name: "injured_or_dead_people",
    share: 0.07,
    things: ["cross", "heart"],
    phrases: ["two people hurt", "the dead were found at the hospital"],
  },
  {
    name: "missing_or_found_people",
    share: 0.05,
    things: ["key", "ring"],
    phrases: ["search for the lost", "missing since the flood"],
  },
  {
    name: "rescue_volunteering_or_donation_effort",
    share: 0.16,
    things: ["boat", "circle"],
    phrases: ["volunteers gave money", "the rescue team is here to help"],
  },
  {
    name: "vehicle_damage",
    share: 0.1,
    things: ["car", "flame"],
    phrases: ["a truck crashed on the road", "the car is burned"],
  },
  {
    name: "other_relevant_information",
    share: 0.17,
    things: ["moon", "star"],
    phrases: ["news report on the storm", "more information now"],
  },
  {
    name: "not_humanitarian",
    share: 0.26,
    things: ["fish", "square"],
    phrases: ["i love this one", "nothing happened here"],
  },
];

const NEUTRAL_PHRASES = ["look at this", "this is from today", "see the picture"] as const;
/** Shares of rows whose picture, and whose text, says nothing; never both. */
const NEUTRAL_PICTURE = 0.35;
const NEUTRAL_TEXT = 0.35;

const HEADER = [
  "event_name",
  "tweet_id",
  "image_id",
  "tweet_text",
  "image",
  "label",
  "label_text",
  "label_image",
  "label_text_image",
];

function drawSplit(count: number, firstId: number, rng: Rng): { table: string; pictures: StandinPicture[] } {
  const pictures: StandinPicture[] = [];
  const lines = [HEADER.join("\t")];
  const order = rng.shuffle(byShares(count));
  for (const [i, index] of order.entries()) {
    const { name, things, phrases } = CLASSES[index]!;
    const fate = rng.uniform();
    const seen = fate >= NEUTRAL_PICTURE;
    const told = fate < NEUTRAL_PICTURE || fate >= NEUTRAL_PICTURE + NEUTRAL_TEXT;
    const text = told ? phrases[rng.below(2)]! : NEUTRAL_PHRASES[rng.below(NEUTRAL_PHRASES.length)]!;
    const tweet = String(firstId + i);
    const image = `data_image/drawn_event/${tweet}_0.png`;
    pictures.push({ path: image, picture: drawThings(seen ? things : [], rng) });
    lines.push(["drawn_event", tweet, `${tweet}_0`, text, image, name, name, name, "Positive"].join("\t"));
  }
  return { table: `${lines.join("\n")}\n`, pictures };
}

/** Every class at least once, as far as there are rows; the rest by share. */
function byShares(count: number): number[] {
  const rows = CLASSES.flatMap(({ share }, i) =>
    Array<number>(Math.max(1, Math.round(share * count))).fill(i),
  );
  while (rows.length < count) rows.push(CLASSES.length - 1);
  return rows.slice(rows.length - count);
}

function drawThings(things: readonly Thing[], rng: Rng): Scene {
  const cells: (Item | undefined)[] = [undefined, undefined, undefined, undefined];
  rng.sample([0, 1, 2, 3], things.length).forEach((cell, i) => {
    cells[cell] = { thing: things[i]!, color: COLOR_NAMES[rng.below(COLOR_NAMES.length)]! };
  });
  return { kind: "scene", cells };
}

const SPLITS = "crisismmd_datasplit_all/task_humanitarian_text_img";

export const crisis: Standin = {
  name: "crisis",
  format: "crisis-mmd",
  folder: "crisis-mmd",
  sizes: {
    quick: { train: 800, test: 200 },
    standard: { train: 2000, test: 600 },
    full: { train: 6126, test: 955 },
  },
  about:
    "Stands in for CrisisMMD v2.0, humanitarian task (eight skewed classes, macro F1). The picture's cue is a pair of things, the text's cue a phrase; 35 % of the pictures and another 35 % of the texts say nothing, so one modality alone tells about 65 % of the rows and both together tell all.",
  draw(size, rng): StandinFiles {
    const train = drawSplit(size.train, 1_000_000, rng.fork("train"));
    const test = drawSplit(size.test, 2_000_000, rng.fork("test"));
    return {
      pictures: [...train.pictures, ...test.pictures],
      texts: { [`${SPLITS}_train.tsv`]: train.table, [`${SPLITS}_test.tsv`]: test.table },
    };
  },
};
