/** The live part of the screen: how far the round is and what each client does, at any width. */
import { table, textWidth } from "../table.ts";
import { bytes, duration, figure } from "../units.ts";
import type { Paint, Style } from "./paint.ts";
import type { ClientView, RunView } from "./view.ts";

/** Columns in the order in which they give way when the terminal is narrow: the last goes first. */
const COLUMNS: readonly {
  readonly title: string;
  readonly align?: "right";
  readonly cell: (client: ClientView, paint: Paint) => string;
}[] = [
  { title: "client", cell: ({ id }, paint) => paint("bold", id) },
  { title: "doing", cell: doing },
  { title: "loss", align: "right", cell: ({ loss }) => (loss === undefined ? "" : figure(loss)) },
  { title: "down", align: "right", cell: ({ downBytes }) => bytes(downBytes) },
  { title: "up", align: "right", cell: ({ upBytes }) => bytes(upBytes) },
  { title: "holds", cell: ({ holds }, paint) => paint("dim", holds) },
];

const BAR_CELLS = 12;

const STYLES: Readonly<Record<string, Style>> = { away: "dim", ready: "dim", done: "green", failed: "red" };

function doing({ doing, done, total }: ClientView, paint: Paint): string {
  const word = paint(STYLES[doing] ?? "cyan", doing.padEnd(8));
  if (total <= 0 || doing === "done" || doing === "failed") return word + " ".repeat(BAR_CELLS + 1);
  return `${word} ${bar(done / total, BAR_CELLS)}`;
}

/** `━━━━━╸     `: a share of 1 in half-cell steps. */
export function bar(share: number, cells: number): string {
  const halves = Math.round(Math.min(1, Math.max(0, share)) * cells * 2);
  const full = Math.floor(halves / 2);
  return ("━".repeat(full) + (halves % 2 === 1 ? "╸" : "")).padEnd(cells);
}

/** The lines of the live part; each fits into `width` columns. */
export function clientLines(
  view: RunView,
  { width, height }: { width: number; height: number },
  paint: Paint,
): string[] {
  // One line goes to the head, one to the titles, one stays free below; what is over is counted in a last line.
  const shown = Math.max(1, height - 4);
  const clients = view.clients.slice(0, shown);
  const hidden = view.clients.length - clients.length;
  for (let count = COLUMNS.length; count > 0; count--) {
    const columns = COLUMNS.slice(0, count);
    const lines = table(
      columns,
      clients.map((client) => columns.map((column) => column.cell(client, paint))),
    );
    const widest = Math.max(...lines.map((line) => textWidth(line)));
    if (widest > width && count > 1) continue;
    const [titles, ...rows] = lines;
    return [
      head(view, width, paint),
      paint("dim", titles!),
      ...rows,
      ...(hidden > 0 ? [paint("dim", `and ${hidden} more`)] : []),
    ];
  }
  return [];
}

function head(view: RunView, width: number, paint: Paint): string {
  const left = leftMs(view);
  const words = [
    view.round === 0 ? "before round 1" : `round ${view.round}/${view.rounds}`,
    view.round === 0
      ? (view.reason ?? "")
      : bar((view.round - 1 + roundShare(view)) / view.rounds, BAR_CELLS),
    view.phase === "aggregating" || view.phase === "evaluating" ? view.phase : "",
    duration(view.elapsedMs),
    left === undefined ? "" : `about ${duration(left)} left`,
  ].filter((word) => word !== "");
  const line = words.join("  ");
  return paint("bold", line.length > width ? line.slice(0, width) : line);
}

/** How much of the round under way is done: the mean over the clients that take part in it. */
function roundShare({ clients }: RunView): number {
  const taking = clients.filter(({ doing }) => doing !== "ready" && doing !== "away");
  const shares = taking.map(({ doing, done, total }) => {
    if (doing === "done" || doing === "failed") return 1;
    return doing === "train" && total > 0 ? (0.9 * done) / total : 0;
  });
  return shares.length === 0 ? 0 : shares.reduce((sum, share) => sum + share, 0) / shares.length;
}

/** From the mean time of the finished rounds; undefined before the first is done. */
function leftMs(view: RunView): number | undefined {
  if (view.history.length === 0 || view.round === 0) return undefined;
  const mean = view.history.reduce((sum, { durationMs }) => sum + durationMs, 0) / view.history.length;
  return Math.max(0, view.rounds - view.history.length - roundShare(view)) * mean;
}
