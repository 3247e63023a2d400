/**
 * Lines at the bottom of a terminal that are drawn again and again, while other lines scroll away above them.
 * On a stream that is no terminal nothing is redrawn: only the scrolling lines are written.
 */
import { stripVTControlCharacters } from "node:util";

const HIDE_CURSOR = "\u001b[?25l";
const SHOW_CURSOR = "\u001b[?25h";
const ERASE_BELOW = "\u001b[0J";

/** Least time between two drawings: smooth to the eye, nothing to a processor. */
const REDRAW_MS = 100;

export class LiveRegion {
  readonly #stream: NodeJS.WriteStream;
  readonly #live: boolean;
  #drawn: readonly string[] = [];
  #lastDrawn = Number.NEGATIVE_INFINITY;
  #lines: readonly string[] = [];

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
    this.#live = stream.isTTY === true && process.env.TERM !== "dumb";
  }

  /** Whether anything is redrawn at all. */
  get live(): boolean {
    return this.#live;
  }

  get size(): { width: number; height: number } {
    return { width: this.#stream.columns ?? 80, height: this.#stream.rows ?? 24 };
  }

  /** A line that stays, above the live ones. */
  print(line: string): void {
    this.#erase();
    this.#stream.write(`${line}\n`);
    this.#draw();
  }

  /** New live lines; drawn at once where the last drawing is long enough ago. */
  update(lines: readonly string[], nowMs: number): void {
    this.#lines = lines;
    if (!this.#live || nowMs - this.#lastDrawn < REDRAW_MS) return;
    this.#lastDrawn = nowMs;
    this.#erase();
    this.#draw();
  }

  /** Takes the live lines away and gives the cursor back. */
  close(): void {
    this.#erase();
    this.#lines = [];
    if (this.#live) this.#stream.write(SHOW_CURSOR);
  }

  #erase(): void {
    if (!this.#live || this.#drawn.length === 0) return;
    // A terminal that was made narrower has wrapped what was drawn wider: count the rows it takes now.
    const { width } = this.size;
    const rows = this.#drawn.map((line) =>
      Math.max(1, Math.ceil(stripVTControlCharacters(line).length / width)),
    );
    const height = rows.reduce((sum, count) => sum + count, 0);
    this.#stream.write(`\r\u001b[${height}A${ERASE_BELOW}`);
    this.#drawn = [];
  }

  #draw(): void {
    if (!this.#live || this.#lines.length === 0) return;
    this.#stream.write(`${HIDE_CURSOR}${this.#lines.map((line) => `${line}\n`).join("")}`);
    this.#drawn = this.#lines;
  }
}
