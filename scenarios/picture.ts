/**
 * The picture of a partition: a row a client, labels stacked by color, hatched where a modality is missing.
 *
 * Colors are those of Okabe and Ito (2008, https://jfly.uni-koeln.de/color/), told apart by color-blind readers too; labels
 * past the eighth share gray. Texts and background follow the reader's light or dark setting.
 */
import { type Counts, countsOf, type Kind, type Plan } from "./plan.ts";

const COLORS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#7A5195"];
const OTHER = "#8C8C8C";

const WIDTH = 760;
const LEFT = 84;
const RIGHT = 56;
const BAR = 18;
const GAP = 6;
const LINE = 18;
/** Clients drawn at most; a picture of a thousand rows says less than its first hundred. */
const MOST_CLIENTS = 100;

/** Line patterns over the label's color: which way they lean says what is missing. */
const HATCH: Readonly<Record<Kind, string | undefined>> = {
  "text + image": undefined,
  "with audio": undefined,
  "image only": "no-text",
  "text only": "no-image",
  neither: "nothing",
};

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

const colorOf = (index: number): string => COLORS[index] ?? OTHER;

export function pictureOf(plan: Plan): string {
  const counts = countsOf(plan);
  const shown = counts.clients.slice(0, MOST_CLIENTS);
  const totals = plan.partition.clients.map((shard) => shard.examples.length);
  const most = Math.max(1, ...totals);
  const legend = legendOf(counts);
  const top = 44;
  const bars = shown.map((own, row) => bar(counts, own, top + row * (BAR + GAP), totals[row]!, most, row));
  const hidden = counts.clients.length - shown.length;
  const below = top + shown.length * (BAR + GAP);
  const more = hidden > 0 ? text(LEFT, below + 13, "small", `and ${hidden} more clients`) : "";
  const legendTop = below + (hidden > 0 ? 34 : 16);
  const height = legendTop + legend.lines * LINE + 8;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escaped(plan.title)}">`,
    `<title>${escaped(plan.title)}</title>`,
    STYLE,
    PATTERNS,
    `<rect class="paper" width="${WIDTH}" height="${height}"/>`,
    text(12, 24, "title", plan.title),
    ...bars,
    more,
    ...legend.draw(legendTop),
    "</svg>",
    "",
  ]
    .filter((part, i, all) => part !== "" || i === all.length - 1)
    .join("\n");
}

const STYLE = `<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328; }
.title { font-size: 14px; font-weight: 600; }
.small { font-size: 11px; }
.paper { fill: #ffffff; }
.part { stroke: #ffffff; stroke-width: 0.6; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.paper { fill: #0d1117; }
.part { stroke: #0d1117; }
}
</style>`;

const PATTERNS = `<defs>
<pattern id="no-text" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="2.4" height="6" fill="#000000" fill-opacity="0.55"/></pattern>
<pattern id="no-image" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)"><rect width="2.4" height="6" fill="#ffffff" fill-opacity="0.75"/></pattern>
<pattern id="nothing" width="5" height="5" patternUnits="userSpaceOnUse"><rect width="5" height="5" fill="#ffffff" fill-opacity="0.7"/><circle cx="2.5" cy="2.5" r="1.1" fill="#000000"/></pattern>
</defs>`;

function text(x: number, y: number, kind: string, words: string, anchor = "start"): string {
  return `<text class="${kind}" x="${x}" y="${y}" text-anchor="${anchor}">${escaped(words)}</text>`;
}

function bar(
  counts: Counts,
  own: Counts["clients"][number],
  y: number,
  total: number,
  most: number,
  client: number,
): string {
  const scale = (WIDTH - LEFT - RIGHT) / most;
  let x = LEFT;
  const parts: string[] = [text(LEFT - 8, y + 13, "name", `client ${client}`, "end")];
  for (const [index, label] of counts.labels.entries()) {
    for (const kind of counts.kinds) {
      const number = own.get(label)?.get(kind) ?? 0;
      if (number === 0) continue;
      const width = (number * scale).toFixed(2);
      const place = `x="${x.toFixed(2)}" y="${y}" width="${width}" height="${BAR}"`;
      const hint = `<title>client ${client}: ${number} x ${escaped(label)}, ${kind}</title>`;
      // A gap around a part of few pixels would leave nothing of it.
      const part = number * scale > 4 ? 'class="part" ' : "";
      parts.push(`<rect ${part}${place} fill="${colorOf(index)}">${hint}</rect>`);
      if (HATCH[kind] !== undefined)
        parts.push(`<rect ${place} fill="url(#${HATCH[kind]})" pointer-events="none"/>`);
      x += number * scale;
    }
  }
  parts.push(text(x + 6, y + 13, "small", String(total)));
  return parts.join("\n");
}

interface Legend {
  readonly lines: number;
  draw(top: number): string[];
}

function legendOf(counts: Counts): Legend {
  const named = counts.labels
    .slice(0, COLORS.length)
    .map((label, i) => ({ fill: colorOf(i), words: label, hatch: undefined as string | undefined }));
  const rest = counts.labels.length - COLORS.length;
  if (rest > 0) named.push({ fill: OTHER, words: `${rest} other labels`, hatch: undefined });
  const kinds = counts.kinds
    .filter((kind) => HATCH[kind] !== undefined)
    .map((kind) => ({ fill: OTHER, words: kind, hatch: HATCH[kind] }));
  const entries = [...named, ...kinds];
  const columns = 3;
  const width = (WIDTH - 24) / columns;
  return {
    lines: Math.ceil(entries.length / columns),
    draw: (top) =>
      entries.map(({ fill, words, hatch }, i) => {
        const x = 12 + (i % columns) * width;
        const y = top + Math.floor(i / columns) * LINE;
        const box = `x="${x.toFixed(1)}" y="${y}" width="14" height="12"`;
        const over = hatch === undefined ? "" : `<rect ${box} fill="url(#${hatch})"/>`;
        return `<rect ${box} fill="${fill}"/>${over}${text(x + 20, y + 10, "small", words)}`;
      }),
  };
}
