/** A measuring process: asked with a line, it answers with a sample. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Sample, Spec } from "./cases.ts";

/** What a program says before its first step; PyTorch's says nothing. */
export interface Opening {
  /** Reading the graph and finding its modules; the session is made with the first step. */
  readonly openedSeconds?: number;
}

export class Side {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  opening: Opening = {};

  private constructor(command: string, args: readonly string[]) {
    this.#child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  static async ours(spec: Spec): Promise<Side> {
    return Side.#ready(
      new Side(process.execPath, [join(import.meta.dirname, "our-step.ts"), JSON.stringify(spec)]),
    );
  }

  static async torch(python: string, spec: Spec): Promise<Side> {
    return Side.#ready(new Side(python, [join(import.meta.dirname, "torch_step.py"), JSON.stringify(spec)]));
  }

  static async #ready(side: Side): Promise<Side> {
    side.opening = (await side.#answer()) as Opening; // what both programs print first
    return side;
  }

  async ask(line: "step" | "forward"): Promise<Sample> {
    this.#child.stdin!.write(`${line}\n`);
    return (await this.#answer()) as Sample; // both programs print this shape
  }

  /** What the engine expects to hold at its peak, MiB; asked after the steps, because asking takes memory too. */
  async estimate(): Promise<number> {
    this.#child.stdin!.write("estimate\n");
    return ((await this.#answer()) as { estimateMib: number }).estimateMib; // our-step.ts prints it
  }

  close(): void {
    this.#child.stdin!.end();
  }

  async #answer(): Promise<unknown> {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) throw new Error(`The measuring process ended with ${this.#child.exitCode}`);
      if (value.startsWith("{")) return JSON.parse(value);
    }
  }
}
