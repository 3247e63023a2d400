/** Short questions about a scene with their answers: what streams and packs are made of. */
import type { Rng } from "../../base/rng.ts";
import { DIGITS } from "../../data/scenes/glyphs.ts";
import { drawMark, familyOf, type Mark, membersOf } from "../../data/scenes/marks.ts";
import { type Item, PLACES, type Scene, TEXTURES } from "../../data/scenes/scene.ts";
import { COLOR_NAMES } from "../../data/scenes/sprites.ts";
import { drawShare, oneOf } from "./lesson.ts";

export interface Query {
  /** Terse: "color star". */
  readonly terse: string;
  /** As a person asks: "what color is the star?" */
  readonly full: string;
  readonly answer: string;
  /** Wrong answers of the same kind. */
  readonly others: readonly string[];
}

export const NUMBERS = DIGITS.slice(0, PLACES.length + 1);

const items = (scene: Scene): readonly Item[] => scene.cells.flatMap((item) => (item ? [item] : []));
export const nameOf = (item: Item): string => `${item.color} ${item.thing}`;

/** Things that stand in the scene once, so that "the star" is one. */
function single(scene: Scene): readonly Item[] {
  const all = items(scene);
  return all.filter((item) => all.filter((other) => other.thing === item.thing).length === 1);
}

function colorOf(scene: Scene, rng: Rng): Query | undefined {
  const candidates = single(scene);
  if (candidates.length === 0) return undefined;
  const item = oneOf(rng, candidates);
  return {
    terse: `color ${item.thing}`,
    full: `what color is the ${item.thing}?`,
    answer: item.color,
    others: COLOR_NAMES.filter((color) => color !== item.color),
  };
}

function thingOf(scene: Scene, rng: Rng): Query | undefined {
  const all = items(scene);
  const candidates = all.filter((item) => all.filter((other) => other.color === item.color).length === 1);
  if (candidates.length === 0) return undefined;
  const item = oneOf(rng, candidates);
  return {
    terse: `thing ${item.color}`,
    full: `what is ${item.color}?`,
    answer: item.thing,
    others: membersOf(familyOf(item.thing)).filter((thing) => thing !== item.thing),
  };
}

function placeOf(scene: Scene, rng: Rng): Query | undefined {
  const candidates = single(scene);
  return candidates.length === 0 ? undefined : placeQuery(scene, oneOf(rng, candidates));
}

function placeQuery(scene: Scene, item: Item): Query {
  const place = PLACES[scene.cells.indexOf(item)]!;
  return {
    terse: `where ${item.thing}`,
    full: `where is the ${item.thing}?`,
    answer: place,
    others: PLACES.filter((other) => other !== place),
  };
}

/** Where each thing is that the scene holds once. */
export function placesOf(scene: Scene): readonly Query[] {
  return single(scene).map((item) => placeQuery(scene, item));
}

function whatAt(scene: Scene, rng: Rng): Query {
  const cell = rng.below(PLACES.length);
  const item = scene.cells[cell];
  const answer = item ? nameOf(item) : "nothing";
  const others = [
    ...scene.cells.flatMap((other) => (other ? [nameOf(other)] : [])),
    "nothing",
    falseName(scene, rng),
  ];
  return {
    terse: `at ${PLACES[cell]}`,
    full: `what is at the ${PLACES[cell]}?`,
    answer,
    others: [...new Set(others)].filter((other) => other !== answer),
  };
}

function count(scene: Scene, rng: Rng): Query {
  const all = items(scene);
  const thing = rng.uniform() < 0.7 ? oneOf(rng, all).thing : drawMark(rng);
  const answer = NUMBERS[all.filter((item) => item.thing === thing).length]!;
  return {
    terse: `many ${thing}`,
    full: `how many ${thing} are there?`,
    answer,
    others: NUMBERS.filter((number) => number !== answer),
  };
}

function anyThing(scene: Scene, rng: Rng): Query {
  const truth = rng.uniform() < 0.5;
  const present = items(scene).map((item) => item.thing);
  const thing = truth ? oneOf(rng, present) : absentMark(present, rng);
  return yesNo(`any ${thing}`, `is there a ${thing}?`, truth);
}

function anyName(scene: Scene, rng: Rng): Query {
  const truth = rng.uniform() < 0.5;
  const name = truth ? nameOf(oneOf(rng, items(scene))) : falseName(scene, rng);
  return yesNo(name, `is there a ${name}?`, truth);
}

function yesNo(terse: string, full: string, truth: boolean): Query {
  return { terse, full, answer: truth ? "yes" : "no", others: [truth ? "no" : "yes"] };
}

/**
 * "red star" that is not in the scene: the right thing in another color, the right color on another thing, or
 * neither. Without the near misses a model would look at one word only.
 */
export function falseName(scene: Scene, rng: Rng): string {
  const names = items(scene).map(nameOf);
  for (;;) {
    const item = oneOf(rng, items(scene));
    const kind = rng.uniform();
    const thing = kind < 0.4 ? item.thing : drawMark(rng);
    const color = kind >= 0.4 && kind < 0.7 ? item.color : oneOf(rng, COLOR_NAMES);
    const name = `${color} ${thing}`;
    if (!names.includes(name)) return name;
  }
}

/** Something that is none of `present`. */
export function absentMark(present: readonly Mark[], rng: Rng): Mark {
  for (;;) {
    const mark = drawMark(rng);
    if (!present.includes(mark)) return mark;
  }
}

/** "digit top left", "word bottom right": reading what is written at a place. */
function readingOf(scene: Scene, rng: Rng): Query | undefined {
  const written = items(scene).filter(({ thing }) => familyOf(thing) !== "thing");
  if (written.length === 0) return undefined;
  const item = oneOf(rng, written);
  const place = PLACES[scene.cells.indexOf(item)]!;
  const family = familyOf(item.thing);
  return {
    terse: `${family} ${place}`,
    full: `what ${family} is at the ${place}?`,
    answer: item.thing,
    others: membersOf(family).filter((other) => other !== item.thing),
  };
}

function textureOf(scene: Scene): Query | undefined {
  const { texture } = scene;
  if (texture === undefined) return undefined;
  return {
    terse: "texture",
    full: "what texture has the ground?",
    answer: texture,
    others: TEXTURES.filter((other) => other !== texture),
  };
}

type Ask = (scene: Scene, rng: Rng) => Query | undefined;

/** Kinds and how often they are asked; a scene has but one texture, so that is asked least. */
const KINDS: readonly (readonly [ask: Ask, share: number])[] = [
  [colorOf, 1.2],
  [thingOf, 1],
  [placeOf, 1.2],
  [whatAt, 1],
  [count, 0.8],
  [anyThing, 0.8],
  [anyName, 1],
  [readingOf, 0.6],
  [textureOf, 0.25],
];
const SHARES = KINDS.map(([, share]) => share);

/** One question of any kind that has an answer in this scene. */
export function drawQuery(scene: Scene, rng: Rng): Query {
  for (;;) {
    const query = KINDS[drawShare(rng, SHARES)]![0](scene, rng);
    if (query !== undefined) return query;
  }
}
