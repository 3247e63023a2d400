/**
 * Drawn scenes: a picture of 32 x 32 pixels in 2 x 2 cells, each empty or holding one colored thing, digit or
 * word, on a dark ground that has a texture. What is in a picture is known exactly, so questions about it have
 * exact answers.
 *
 * A scan is the other kind: a pale body part on black with zero to two bright spots in its quadrants.
 */
import type { Rng } from "../../base/rng.ts";
import { drawMark, type Mark, SPRITES } from "./marks.ts";
import { COLOR_NAMES, COLORS, type Color } from "./sprites.ts";

export const PICTURE_SIDE = 32;
const CELL_SIDE = PICTURE_SIDE / 2;

/** Cells in reading order. */
export const PLACES = ["top left", "top right", "bottom left", "bottom right"] as const;
export type Place = (typeof PLACES)[number];

export interface Item {
  readonly thing: Mark;
  readonly color: Color;
}

export interface Scene {
  readonly kind: "scene";
  /** One entry a cell, in the order of PLACES. */
  readonly cells: readonly (Item | undefined)[];
  /** Of the ground; drawn with the picture where absent. */
  readonly texture?: Texture;
}

export const TEXTURES = ["plain", "striped", "dotted"] as const;
export type Texture = (typeof TEXTURES)[number];

export const PARTS = ["chest", "head", "belly"] as const;
export type Part = (typeof PARTS)[number];

export interface Scan {
  readonly kind: "scan";
  readonly part: Part;
  /** Quadrants that hold a bright spot, in the order of PLACES. */
  readonly spots: readonly boolean[];
}

/** Red, green, blue, row by row, 0 to 255. */
export type Pixels = Uint8Array;

const GROUNDS = [
  [0.05, 0.05, 0.08],
  [0.12, 0.07, 0.05],
  [0.04, 0.1, 0.06],
  [0.1, 0.05, 0.12],
  [0.13, 0.13, 0.13],
] as const;

/** Standard deviation of the noise on each channel. */
const NOISE = 0.03;
/** Of pictures with several things, the share in which one thing comes twice. */
const REPEATED = 0.3;

export function drawScene(rng: Rng, count = 1 + rng.below(4)): Scene {
  const things: Mark[] = [];
  while (things.length < count) {
    const thing = drawMark(rng);
    if (!things.includes(thing)) things.push(thing);
  }
  if (count > 1 && rng.uniform() < REPEATED) things[1] = things[0]!;
  const items = things.map((thing) => ({ thing, color: COLOR_NAMES[rng.below(COLOR_NAMES.length)]! }));
  const cells: (Item | undefined)[] = PLACES.map(() => undefined);
  rng.sample([0, 1, 2, 3], count).forEach((cell, i) => {
    cells[cell] = items[i];
  });
  return { kind: "scene", cells, texture: TEXTURES[rng.below(TEXTURES.length)]! };
}

export function drawScan(rng: Rng, part: Part = PARTS[rng.below(PARTS.length)]!): Scan {
  const marked = rng.sample([0, 1, 2, 3], rng.below(3));
  return { kind: "scan", part, spots: PLACES.map((_, i) => marked.includes(i)) };
}

/** Ground, jitter and noise come from `rng`; the same scene looks different each time. */
export function paint(picture: Scene | Scan, rng: Rng): Pixels {
  const canvas = picture.kind === "scene" ? paintScene(picture, rng) : paintScan(picture, rng);
  return Uint8Array.from(canvas, (value) =>
    Math.min(255, Math.max(0, Math.round(255 * (value + NOISE * rng.normal())))),
  );
}

function paintScene(scene: Scene, rng: Rng): Float64Array {
  const canvas = paintGround(scene.texture, rng);
  scene.cells.forEach((item, cell) => {
    if (item === undefined) return;
    const { width, painted } = SPRITES.get(item.thing)!;
    const top = Math.floor(cell / 2) * CELL_SIDE + placeIn(painted.length / width, rng);
    const left = (cell % 2) * CELL_SIDE + placeIn(width, rng);
    painted.forEach((set, i) => {
      if (!set) return;
      const pixel = (top + Math.floor(i / width)) * PICTURE_SIDE + left + (i % width);
      canvas.set(COLORS[item.color], pixel * 3);
    });
  });
  return canvas;
}

/** Where a sprite begins in its cell: in the middle or one pixel beside it, as far as there is room. */
function placeIn(size: number, rng: Rng): number {
  const room = CELL_SIDE - size;
  const least = Math.max(0, Math.floor(room / 2) - 1);
  return least + rng.below(Math.min(3, room - least + 1));
}

function paintGround(asked: Texture | undefined, rng: Rng): Float64Array {
  const ground = GROUNDS[rng.below(GROUNDS.length)]!;
  const drawn = TEXTURES[rng.below(TEXTURES.length)]!;
  const texture = asked ?? drawn;
  const canvas = new Float64Array(PICTURE_SIDE * PICTURE_SIDE * 3);
  for (let y = 0; y < PICTURE_SIDE; y++) {
    for (let x = 0; x < PICTURE_SIDE; x++) {
      const lit = texture === "striped" ? y % 4 === 0 : texture === "dotted" && x % 4 === 0 && y % 4 === 0;
      for (let c = 0; c < 3; c++) canvas[(y * PICTURE_SIDE + x) * 3 + c] = ground[c]! + (lit ? 0.08 : 0);
    }
  }
  return canvas;
}

/** Ellipses as [center x, center y, radius x, radius y, brightness]; later ones lie on top. */
const BODIES: Readonly<Record<Part, readonly (readonly [number, number, number, number, number])[]>> = {
  chest: [
    [16, 16, 14, 13, 0.45],
    [10, 16, 4.5, 9, 0.12],
    [22, 16, 4.5, 9, 0.12],
  ],
  head: [
    [16, 16, 12, 14, 0.8],
    [16, 16, 9.5, 11.5, 0.3],
  ],
  belly: [
    [16, 16, 15, 11, 0.3],
    [9, 14, 4, 5, 0.5],
    [22, 15, 4, 4, 0.5],
    [16, 21, 5, 3, 0.5],
  ],
};

/** Side of a bright spot, in pixels. */
const SPOT = 4;

function paintScan(scan: Scan, rng: Rng): Float64Array {
  const canvas = new Float64Array(PICTURE_SIDE * PICTURE_SIDE * 3);
  const [shiftX, shiftY] = [rng.below(3) - 1, rng.below(3) - 1];
  const set = (x: number, y: number, value: number): void => {
    canvas.fill(value, (y * PICTURE_SIDE + x) * 3, (y * PICTURE_SIDE + x) * 3 + 3);
  };
  for (let y = 0; y < PICTURE_SIDE; y++) {
    for (let x = 0; x < PICTURE_SIDE; x++) {
      for (const [cx, cy, rx, ry, brightness] of BODIES[scan.part]) {
        if (((x + 0.5 - cx - shiftX) / rx) ** 2 + ((y + 0.5 - cy - shiftY) / ry) ** 2 <= 1)
          set(x, y, brightness);
      }
    }
  }
  scan.spots.forEach((marked, quadrant) => {
    if (!marked) return;
    const left = 6 + (quadrant % 2) * 13 + rng.below(4);
    const top = 6 + Math.floor(quadrant / 2) * 13 + rng.below(4);
    for (let y = top; y < top + SPOT; y++) for (let x = left; x < left + SPOT; x++) set(x, y, 1);
  });
  return canvas;
}
