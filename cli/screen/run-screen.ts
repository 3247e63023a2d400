/**
 * A run on the screen: rounds as lines that stay, clients as a live table below them. Where there is no
 * terminal only the lines are written; they are the same.
 */
import { headline } from "../../base/errors.ts";
import { duration } from "../units.ts";
import { clientLines } from "./clients.ts";
import { LiveRegion } from "./live-region.ts";
import { type Paint, paintFor } from "./paint.ts";
import { roundColumns, roundLine, roundTitles } from "./rounds.ts";
import { hasEnded, type RunView } from "./view.ts";

export interface RunScreen {
  /** Shows what changed since the last view; of another run, everything. */
  show(view: RunView): void;
  /** A line above the live table, such as one of the log. */
  print(line: string): void;
  /** Leaves the lines, takes the live table away. */
  close(): void;
}

/** @param now monotonic milliseconds, to limit how often the table is drawn */
export function createRunScreen(stream: NodeJS.WriteStream, now: () => number): RunScreen {
  const region = new LiveRegion(stream);
  const paint = paintFor(stream);
  let shown: string | undefined;
  let columns: ReturnType<typeof roundColumns> | undefined;
  let metrics: readonly string[] = [];
  let rounds = 0;
  let failures = 0;
  let ended = false;
  let waiting: string | undefined;

  return {
    show(view) {
      if (view.id !== shown) {
        [shown, columns, metrics, waiting] = [view.id, undefined, [], undefined];
        [rounds, failures, ended] = [0, 0, false];
      }
      if (view.status === "waiting" && view.reason !== undefined && view.reason !== waiting && !region.live) {
        region.print(view.reason);
      }
      waiting = view.reason;
      for (const failure of view.failures.slice(failures)) {
        const line = `client ${failure.client} failed in ${failure.phase} of round ${failure.round}: ${headline(failure.message)} (${failure.code})`;
        region.print(paint("red", line));
      }
      failures = Math.max(failures, view.failures.length);
      for (const round of view.history.slice(rounds)) {
        // A run that evaluates every few rounds shows its metrics from the first one on that has them.
        const named = Object.keys(round.metrics).filter((name) => !metrics.includes(name));
        if (columns === undefined || named.length > 0) {
          metrics = [...metrics, ...named.sort()];
          columns = roundColumns(metrics);
          region.print(paint("dim", roundTitles(columns)));
        }
        region.print(roundLine(columns, round));
      }
      rounds = Math.max(rounds, view.history.length);
      if (hasEnded(view)) {
        region.update([], now());
        if (!ended) region.print(ending(view, paint));
        ended = true;
        return;
      }
      ended = false; // a stopped run may have been resumed
      if (region.live) region.update(clientLines(view, region.size, paint), now());
    },
    print: (line) => region.print(line),
    close: () => region.close(),
  };
}

function ending(view: RunView, paint: Paint): string {
  const rounds = `${view.history.length} of ${view.rounds} rounds in ${duration(view.elapsedMs)}`;
  if (view.status === "finished") return `${paint("green", "finished")}: ${rounds}`;
  return `${paint("red", view.status)} after ${rounds}${view.reason === undefined ? "" : `: ${view.reason}`}`;
}
