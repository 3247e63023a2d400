import { expect, test } from "vitest";
import { createRng } from "../../../base/rng.ts";
import { drawScan, drawScene, PICTURE_SIDE, paint, type Scene } from "../../../data/scenes/scene.ts";
import { COLORS, SPRITE_SIDE, SPRITES, THINGS } from "../../../data/scenes/sprites.ts";

test("every sprite fills its square of 144 pixels and no two look alike", () => {
  for (const thing of THINGS) expect(SPRITES.get(thing)!).toHaveLength(SPRITE_SIDE ** 2);
  expect(new Set(THINGS.map((thing) => SPRITES.get(thing)!.join())).size).toBe(THINGS.length);
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
