/** Short questions about a scene with their answers: what streams and packs are made of. */
import type { Rng } from "../../base/rng.ts";
import { type Item, PLACES, type Scene } from "../../data/scenes/scene.ts";
import { COLOR_NAMES, THINGS } from "../../data/scenes/sprites.ts";
import { oneOf } from "./lesson.ts";

export interface Query {
  /** Terse: "color star". */
  readonly terse: string;
  /** As a person asks: "what color is the star?" */
  readonly full: string;
  readonly answer: string;
  /** Wrong answers of the same kind. */
  readonly others: readonly string[];
}

export const NUMBERS = ["zero", "one", "two", "three", "four"] as const;

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
    others: THINGS.filter((thing) => thing !== item.thing),
  };
}

function placeOf(scene: Scene, rng: Rng): Query | undefined {
  const candidates = single(scene);
  if (candidates.length === 0) return undefined;
  const item = oneOf(rng, candidates);
  const place = PLACES[scene.cells.indexOf(item)]!;
  return {
    terse: `where ${item.thing}`,
    full: `where is the ${item.thing}?`,
    answer: place,
    others: PLACES.filter((other) => other !== place),
  };
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
  const thing = rng.uniform() < 0.7 ? oneOf(rng, all).thing : oneOf(rng, THINGS);
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
  const thing = truth
    ? oneOf(rng, present)
    : oneOf(
        rng,
        THINGS.filter((other) => !present.includes(other)),
      );
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
    const thing = kind < 0.4 ? item.thing : oneOf(rng, THINGS);
    const color = kind >= 0.4 && kind < 0.7 ? item.color : oneOf(rng, COLOR_NAMES);
    const name = `${color} ${thing}`;
    if (!names.includes(name)) return name;
  }
}

const KINDS = [colorOf, thingOf, placeOf, whatAt, count, anyThing, anyName] as const;

/** One question of any kind that has an answer in this scene. */
export function drawQuery(scene: Scene, rng: Rng): Query {
  for (;;) {
    const query = oneOf(rng, KINDS)(scene, rng);
    if (query !== undefined) return query;
  }
}
