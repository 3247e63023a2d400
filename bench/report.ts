/**
 * How a benchmark reports: it returns its tables, and they become one section of docs/benchmarks.md between
 * markers, with command, machine and date. Sections of other benchmarks stay as they are.
 *
 * A claim about speed is a ratio of two rows of one run; absolute figures are of the machine that is named.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { arch, cpus, platform, totalmem } from "node:os";
import { join } from "node:path";

export interface Table {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | number)[])[];
}

export interface Report {
  /** What was measured and how, for a reader who wants to doubt it. Markdown. */
  readonly text: string;
  readonly tables: readonly Table[];
}

/** What a file `bench/<name>.ts` exports as `bench`. */
export interface Bench {
  readonly title: string;
  /** One line per option, for `npm run bench`. */
  readonly usage?: readonly string[];
  /** @param log one line of progress, on standard error */
  run(args: readonly string[], log: (line: string) => void): Promise<Report>;
}

export const BENCHMARKS_FILE = join(import.meta.dirname, "..", "docs", "benchmarks.md");

const HEAD = `# Benchmarks

Written by \`npm run bench -- NAME\`; each section is replaced when its benchmark runs again. Ratios are measured
in one run on one machine; compare absolute figures only with others of the same machine.
`;

export function machine(): string {
  const processors = cpus();
  const memoryGib = (totalmem() / 2 ** 30).toFixed(0);
  const model = processors[0]?.model.trim() || "unknown processor";
  return `${processors.length} x ${model}, ${memoryGib} GiB, ${platform()} ${arch()}, Node ${process.versions.node}`;
}

/** Three significant digits: what a repeated run confirms. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  return value >= 1000 ? Math.round(value).toString() : Number(value.toPrecision(3)).toString();
}

export function renderTable({ columns, rows }: Table): string {
  const cell = (value: string | number): string => (typeof value === "number" ? figure(value) : value);
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(columns), line(columns.map(() => "---")), ...rows.map((row) => line(row.map(cell)))].join(
    "\n",
  );
}

export function renderSection(
  name: string,
  bench: Bench,
  args: readonly string[],
  report: Report,
  date: Date,
): string {
  const command = ["npm run bench --", name, ...args].join(" ");
  const parts = [
    `<!-- bench:${name} -->`,
    `## ${bench.title}`,
    `\`${command}\` on ${date.toISOString().slice(0, 10)}: ${machine()}`,
    report.text.trim(),
    ...report.tables.map(renderTable),
    `<!-- /bench:${name} -->`,
  ];
  return parts.join("\n\n");
}

/** @returns `page` with the section in place of the one of the same name, or at the end */
export function replaceSection(page: string, name: string, section: string): string {
  const begin = page.indexOf(`<!-- bench:${name} -->`);
  const endMark = `<!-- /bench:${name} -->`;
  const end = page.indexOf(endMark);
  if (begin < 0 || end < begin) return `${page.trimEnd()}\n\n${section}\n`;
  return page.slice(0, begin) + section + page.slice(end + endMark.length);
}

export function writeReport(name: string, bench: Bench, args: readonly string[], report: Report): string {
  const page = existsSync(BENCHMARKS_FILE) ? readFileSync(BENCHMARKS_FILE, "utf8") : HEAD;
  const section = renderSection(name, bench, args, report, new Date());
  writeFileSync(BENCHMARKS_FILE, replaceSection(page, name, section));
  return section;
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

/** Of the smallest of two sides that took turns, and behind the stroke the median of the ratios of each round. */
export function ratioText(mine: readonly number[], theirs: readonly number[]): string {
  const paired = median(mine.map((value, i) => value / theirs[i]!));
  return `${(Math.min(...mine) / Math.min(...theirs)).toFixed(2)} / ${paired.toFixed(2)}`;
}
