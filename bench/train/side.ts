/** A measuring process: asked with a line, it answers with a sample. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Sample, Spec } from "./cases.ts";

export class Side {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly samples: Sample[] = [];

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
    await side.#answer();
    return side;
  }

  async ask(line: "step" | "forward"): Promise<Sample> {
    this.#child.stdin!.write(`${line}\n`);
    const sample = (await this.#answer()) as Sample; // both programs print this shape
    if (line === "step") this.samples.push(sample);
    return sample;
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
