/** Curves over rounds as SVG: the main metric of each method in one setting. Colors and dashes both tell lines apart. */
import type { CellResult } from "../run-cell.ts";

/** Okabe and Ito 2008, https://jfly.uni-koeln.de/color/: told apart by color-blind readers too. */
const COLORS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#7A5195", "#8C8C8C"];
const DASHES = ["", "6 3", "2 3", "8 3 2 3"];

const WIDTH = 420;
const HEIGHT = 220;
const LEFT = 40;
const RIGHT = 12;
const TOP = 28;
const BOTTOM = 30;

export interface Line {
  readonly title: string;
  readonly points: readonly { readonly round: number; readonly value: number }[];
}

export function linesOf(
  results: readonly CellResult[],
  metric: string,
  titleOf: (method: string) => string,
): Line[] {
  return results
    .filter(({ curve }) => curve.length > 1)
    .map(({ cell, curve }) => ({
      title: titleOf(cell.method),
      points: curve.map(({ round, metrics }) => ({ round, value: metrics[metric]! })),
    }));
}

export function chart(
  title: string,
  lines: readonly Line[],
  baseline: { name: string; value: number } | undefined,
): string {
  const rounds = Math.max(...lines.flatMap(({ points }) => points.map(({ round }) => round)));
  const values = [
    ...lines.flatMap(({ points }) => points.map(({ value }) => value)),
    ...(baseline ? [baseline.value] : []),
  ];
  const low = Math.floor((Math.min(...values) - 2) / 10) * 10;
  const high = Math.ceil((Math.max(...values) + 2) / 10) * 10;
  const x = (round: number): number => LEFT + ((WIDTH - LEFT - RIGHT) * round) / rounds;
  const y = (value: number): number =>
    HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * (value - low)) / (high - low);
  const ticks = Array.from({ length: Math.round((high - low) / 10) + 1 }, (_, i) => low + 10 * i);
  const legendTop = HEIGHT + 4;
  const total = legendTop + 16 * Math.ceil(lines.length / 2) + 6;
  return [
    `<svg viewBox="0 0 ${WIDTH} ${total}" role="img" aria-label="${escaped(title)}">`,
    `<text class="title" x="${LEFT}" y="16">${escaped(title)}</text>`,
    ...ticks.map(
      (tick) =>
        `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(tick)}" y2="${y(tick)}"/><text class="tick" x="${LEFT - 6}" y="${y(tick) + 4}" text-anchor="end">${tick}</text>`,
    ),
    `<text class="tick" x="${x(rounds)}" y="${HEIGHT - 10}" text-anchor="end">round ${rounds}</text>`,
    baseline === undefined
      ? ""
      : `<line class="baseline" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(baseline.value)}" y2="${y(baseline.value)}"/><text class="tick" x="${WIDTH - RIGHT}" y="${y(baseline.value) - 4}" text-anchor="end">${escaped(baseline.name)}</text>`,
    ...lines.map(({ points }, i) => {
      const path = points
        .map(({ round, value }) => `${x(round).toFixed(1)},${y(value).toFixed(1)}`)
        .join(" ");
      return `<polyline fill="none" stroke-width="2" ${stroke(i)} points="${path}"/>`;
    }),
    ...lines.map(({ title: name }, i) => {
      const left = LEFT + (i % 2) * 190;
      const top = legendTop + 16 * Math.floor(i / 2) + 8;
      return `<line stroke-width="3" ${stroke(i)} x1="${left}" x2="${left + 24}" y1="${top}" y2="${top}"/><text class="tick" x="${left + 30}" y="${top + 4}">${escaped(name)}</text>`;
    }),
    "</svg>",
  ].join("\n");
}

function stroke(index: number): string {
  const dash = DASHES[Math.floor(index / COLORS.length) % DASHES.length]!;
  return `stroke="${COLORS[index % COLORS.length]}"${dash && ` stroke-dasharray="${dash}"`}`;
}

export const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
