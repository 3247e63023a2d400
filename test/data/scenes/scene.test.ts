import { expect, test } from "vitest";
import { createRng } from "../../../base/rng.ts";
import { DIGITS, WORDS } from "../../../data/scenes/glyphs.ts";
import { MARKS, SPRITES } from "../../../data/scenes/marks.ts";
import {
  drawScan,
  drawScene,
  PICTURE_SIDE,
  paint,
  type Scene,
  TEXTURES,
} from "../../../data/scenes/scene.ts";
import { COLORS, THINGS } from "../../../data/scenes/sprites.ts";

test("every sprite fits its cell of 16 x 16 pixels, and no two look alike", () => {
  expect(MARKS).toHaveLength(THINGS.length + DIGITS.length + WORDS.length);
  expect(new Set(MARKS).size).toBe(MARKS.length);
  for (const mark of MARKS) {
    const { width, painted } = SPRITES.get(mark)!;
    expect(width).toBeLessThanOrEqual(16);
    expect(painted.length % width).toBe(0);
    expect(painted.length / width).toBeLessThanOrEqual(16);
  }
  const looks = MARKS.map((mark) => SPRITES.get(mark)!).map(
    ({ width, painted }) => `${width}:${painted.join()}`,
  );
  expect(new Set(looks).size).toBe(MARKS.length);
});

test("anything is painted whole inside its cell, wherever in the cell it stands", () => {
  const rng = createRng("cells");
  for (const mark of MARKS) {
    for (let cell = 0; cell < 4; cell++) {
      const cells = [0, 1, 2, 3].map((at) =>
        at === cell ? ({ thing: mark, color: "white" } as const) : undefined,
      );
      const pixels = paint({ kind: "scene", cells }, rng);
      let inside = 0;
      for (let y = 0; y < PICTURE_SIDE; y++) {
        for (let x = 0; x < PICTURE_SIDE; x++) {
          if (pixels[(y * PICTURE_SIDE + x) * 3]! <= 200) continue;
          expect((y < 16 ? 0 : 2) + (x < 16 ? 0 : 1)).toBe(cell);
          inside++;
        }
      }
      expect(inside).toBe(SPRITES.get(mark)!.painted.filter(Boolean).length);
    }
  }
});

test("textures are seen: stripes and dots brighten a quarter and a sixteenth of the ground", () => {
  for (const [texture, share] of [
    ["plain", 0],
    ["striped", 1 / 4],
    ["dotted", 1 / 16],
  ] as const) {
    expect(TEXTURES).toContain(texture);
    const pixels = paint(
      { kind: "scene", cells: [undefined, undefined, undefined, undefined], texture },
      createRng(1),
    );
    const at = (x: number, y: number): number => pixels[(y * PICTURE_SIDE + x) * 3]!;
    let difference = 0;
    for (let y = 0; y < PICTURE_SIDE; y += 4)
      for (let x = 0; x < PICTURE_SIDE; x += 4) difference += at(x, y) - at(x + 1, y + 1);
    // 64 differences of two pixels, noise 0.03 each: the mean's deviation is 1.4 of 255. Light is 0.08, 20 of 255.
    expect(Math.abs(difference / 64 - (share === 0 ? 0 : 20.4))).toBeLessThan(6);
  }
});

test("the same seed draws and paints the same picture", () => {
  const once = (): Uint8Array => {
    const rng = createRng("picture");
    return paint(drawScene(rng), rng);
  };
  expect(once()).toEqual(once());
});

test("a thing is painted in its color inside its cell and nowhere else", () => {
  const scene: Scene = {
    kind: "scene",
    cells: [undefined, undefined, undefined, { thing: "square", color: "white" }],
  };
  const pixels = paint(scene, createRng(3));
  const isWhite = (x: number, y: number): boolean => pixels[(y * PICTURE_SIDE + x) * 3]! > 200;
  // The square is 10 x 10 painted pixels; noise of 0.03 keeps white (0.96) and the grounds (at most 0.21) far apart.
  let white = 0;
  for (let y = 0; y < PICTURE_SIDE; y++) {
    for (let x = 0; x < PICTURE_SIDE; x++) {
      if (!isWhite(x, y)) continue;
      white++;
      expect(x >= 16 && y >= 16).toBe(true);
    }
  }
  expect(white).toBe(100);
});

test("scenes hold one to four things, and one thing comes twice in about three of ten with several", () => {
  const rng = createRng(4);
  let several = 0;
  let repeated = 0;
  for (let i = 0; i < 2000; i++) {
    const things = drawScene(rng).cells.flatMap((item) => (item ? [item.thing] : []));
    expect(things.length).toBeGreaterThanOrEqual(1);
    expect(things.length).toBeLessThanOrEqual(4);
    if (things.length < 2) continue;
    several++;
    if (new Set(things).size < things.length) repeated++;
  }
  // 30 % of about 1500 draws: the standard deviation of the share is 1.2 points, four of them are 5.
  expect(Math.abs(repeated / several - 0.3)).toBeLessThan(0.05);
});

test("a scan shows as many bright spots as it says", () => {
  const rng = createRng(5);
  for (let i = 0; i < 50; i++) {
    const scan = drawScan(rng, "chest");
    const pixels = paint(scan, rng);
    let bright = 0;
    // The chest is at most 0.45 bright and a spot is 1: 0.75 lies eight deviations of the noise from either.
    for (let pixel = 0; pixel < PICTURE_SIDE ** 2; pixel++) if (pixels[pixel * 3]! > 0.75 * 255) bright++;
    expect(bright).toBe(16 * scan.spots.filter(Boolean).length);
  }
});

test("colors are apart by more than the noise on at least one channel", () => {
  const values = Object.values(COLORS);
  for (const [i, a] of values.entries()) {
    for (const b of values.slice(i + 1)) {
      // 0.1 is more than three standard deviations of the noise on one pixel; a thing has dozens of pixels.
      expect(Math.max(...a.map((value, channel) => Math.abs(value - b[channel]!)))).toBeGreaterThan(0.1);
    }
  }
});
