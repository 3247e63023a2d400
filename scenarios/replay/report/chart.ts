/**
 * Curves over rounds as SVG: one metric of several methods in one setting. A line is told by its color, its dashes and
 * the shape of its marks, so that it reads without color too; colors are set in the page's style, light and dark.
 */
import { methodNamed } from "../methods.ts";
import type { CellResult } from "../run-cell.ts";
import { mean } from "./tables.ts";

const WIDTH = 420;
const HEIGHT = 220;
const LEFT = 34;
const RIGHT = 12;
const TOP = 30;
const BOTTOM = 34;
const LEGEND_LINE = 17;
/** Where a legend's second column begins, and the longest name in letters that leaves room for one. */
const LEGEND_COLUMN = 206;
const SHORT_NAME = 27;
/** Colors of the style; lines beyond them begin again with other dashes. */
export const LINE_COLORS = 8;
const DASHES = ["", "7 3", "2 3"];

export interface Line {
  readonly title: string;
  readonly points: readonly { readonly round: number; readonly value: number }[];
}

/** A line a method, mean over its seeds; methods of which no round was scored have none. */
export function linesOf(results: readonly CellResult[], metric: string): Line[] {
  const methods = [...new Set(results.map(({ cell }) => cell.method))];
  return methods.flatMap((method) => {
    const own = results.filter(({ cell, curve }) => cell.method === method && curve.length > 1);
    const rounds = own[0]?.curve.map(({ round }) => round) ?? [];
    const points = rounds.flatMap((round, i) => {
      const values = own.flatMap(({ curve }) => curve[i]?.metrics[metric] ?? []);
      return values.length === 0 ? [] : [{ round, value: mean(values) }];
    });
    return points.length === 0 ? [] : [{ title: methodNamed(method).title, points }];
  });
}

export function chart(
  title: string,
  lines: readonly Line[],
  baseline: { readonly name: string; readonly value: number } | undefined,
): string {
  const rounds = Math.max(...lines.flatMap(({ points }) => points.map(({ round }) => round)));
  const values = lines.flatMap(({ points }) => points.map(({ value }) => value));
  const all = baseline === undefined ? values : [...values, baseline.value];
  const low = Math.max(0, Math.floor((Math.min(...all) - 2) / 10) * 10);
  const high = Math.min(100, Math.max(low + 10, Math.ceil((Math.max(...all) + 2) / 10) * 10));
  const x = (round: number): number => LEFT + ((WIDTH - LEFT - RIGHT) * round) / rounds;
  const y = (value: number): number =>
    HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * (value - low)) / (high - low);
  const grain = high - low > 60 ? 20 : 10;
  const ticks = Array.from({ length: Math.floor((high - low) / grain) + 1 }, (_, i) => low + grain * i);
  const marked = [...new Set(lines.flatMap(({ points }) => points.map(({ round }) => round)))];
  const columns = lines.every(({ title: name }) => name.length <= SHORT_NAME) ? 2 : 1;
  const total = HEIGHT + LEGEND_LINE * Math.ceil(lines.length / columns) + 6;
  return [
    `<svg viewBox="0 0 ${WIDTH} ${total}" role="img" aria-label="${escaped(title)}">`,
    `<text class="title" x="4" y="16">${escaped(title)}</text>`,
    ...ticks.map(
      (tick) =>
        `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(tick)}" y2="${y(tick)}"/>${text(LEFT - 6, y(tick) + 4, "end", String(tick))}`,
    ),
    ...withRoom(marked, x).map((round) => text(x(round), HEIGHT - BOTTOM + 15, "middle", String(round))),
    text(0, HEIGHT - BOTTOM + 15, "start", "round"),
    baseline === undefined ? "" : baselineOf(baseline.name, y(baseline.value)),
    ...lines.map(({ points }, i) => {
      const path = points.map(({ round, value }) => `${x(round).toFixed(1)},${y(value).toFixed(1)}`);
      const marks = points.map(({ round, value }) => mark(i, x(round), y(value)));
      return `<polyline class="line c${i % LINE_COLORS}"${dash(i)} points="${path.join(" ")}"/>${marks.join("")}`;
    }),
    ...lines.map(({ title: name }, i) => {
      const left = 4 + (i % columns) * LEGEND_COLUMN;
      const top = HEIGHT + LEGEND_LINE * Math.floor(i / columns) + 6;
      const sample = `<line class="line c${i % LINE_COLORS}"${dash(i)} x1="${left}" x2="${left + 26}" y1="${top}" y2="${top}"/>`;
      return sample + mark(i, left + 13, top) + text(left + 32, top + 4, "start", name);
    }),
    "</svg>",
  ].join("\n");
}

/** Of numbers along the axis those that stand at least two digits apart, the last one always. */
function withRoom(rounds: readonly number[], x: (round: number) => number): number[] {
  const kept: number[] = [];
  for (const round of [...rounds].sort((a, b) => b - a)) {
    const next = kept.at(-1);
    if (next === undefined || (x(next) - x(round) >= 20 && x(round) >= LEFT + 12)) kept.push(round);
  }
  return kept;
}

function baselineOf(name: string, at: number): string {
  const line = `<line class="baseline" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}"/>`;
  return line + text(LEFT + 4, at - 4, "start", name);
}

const text = (x: number, y: number, anchor: "start" | "middle" | "end", words: string): string =>
  `<text class="tick" x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${escaped(words)}</text>`;

/** Circle, square, triangle or diamond. */
function mark(index: number, x: number, y: number): string {
  const color = `class="mark c${index % LINE_COLORS}"`;
  const at = (dx: number, dy: number): string => `${(x + dx).toFixed(1)},${(y + dy).toFixed(1)}`;
  switch (index % 4) {
    case 0:
      return `<circle ${color} cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="3.2"/>`;
    case 1:
      return `<polygon ${color} points="${at(-3, -3)} ${at(3, -3)} ${at(3, 3)} ${at(-3, 3)}"/>`;
    case 2:
      return `<polygon ${color} points="${at(0, -4)} ${at(4, 3)} ${at(-4, 3)}"/>`;
    default:
      return `<polygon ${color} points="${at(0, -4.2)} ${at(4.2, 0)} ${at(0, 4.2)} ${at(-4.2, 0)}"/>`;
  }
}

function dash(index: number): string {
  const dashes = DASHES[Math.floor(index / 4) % DASHES.length];
  return dashes === "" ? "" : ` stroke-dasharray="${dashes}"`;
}

export const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
