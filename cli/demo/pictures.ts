/** Small pictures of one colored shape on a dark, noisy ground: what the demo's questions are about. */
import sharp from "sharp";
import type { Rng } from "../../base/rng.ts";

export const COLORS = {
  red: [214, 48, 49],
  green: [38, 166, 71],
  blue: [44, 92, 214],
  yellow: [235, 203, 38],
} as const satisfies Record<string, readonly [number, number, number]>;

export const SHAPES = {
  circle: (x: number, y: number) => x * x + y * y <= 1,
  square: (x: number, y: number) => Math.abs(x) <= 0.86 && Math.abs(y) <= 0.86,
  triangle: (x: number, y: number) => y <= 0.8 && y >= 2 * Math.abs(x) * 0.9 - 0.95,
  cross: (x: number, y: number) =>
    (Math.abs(x) <= 0.36 || Math.abs(y) <= 0.36) && Math.abs(x) <= 1 && Math.abs(y) <= 1,
} as const satisfies Record<string, (x: number, y: number) => boolean>;

export type Color = keyof typeof COLORS;
export type Shape = keyof typeof SHAPES;

const SIDE = 48;
/** Standard deviation of the noise on each channel, of 255. */
const NOISE = 14;

/** A PNG of 48 x 48 pixels; size, place, ground and noise come from `rng`. */
export async function drawPicture(color: Color, shape: Shape, rng: Rng): Promise<Uint8Array> {
  const radius = SIDE * (0.26 + 0.14 * rng.uniform());
  const [centerX, centerY] = [place(radius, rng), place(radius, rng)];
  const ground = 20 + 50 * rng.uniform();
  const light = 0.8 + 0.25 * rng.uniform();
  const pixels = new Uint8Array(SIDE * SIDE * 3);
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const inside = SHAPES[shape]((x + 0.5 - centerX) / radius, (y + 0.5 - centerY) / radius);
      for (let channel = 0; channel < 3; channel++) {
        const value = (inside ? COLORS[color][channel]! * light : ground) + NOISE * rng.normal();
        pixels[(y * SIDE + x) * 3 + channel] = Math.min(255, Math.max(0, Math.round(value)));
      }
    }
  }
  return sharp(pixels, { raw: { width: SIDE, height: SIDE, channels: 3 } })
    .png()
    .toBuffer();
}

function place(radius: number, rng: Rng): number {
  return radius + (SIDE - 2 * radius) * rng.uniform();
}
