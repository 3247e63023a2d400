/** Real processes for tests: started, watched line by line, killed. None outlives its test. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { onTestFinished, vi } from "vitest";

/** Longest wait for any one event: a loaded machine with two cores, and then some. A test that comes here has failed. */
export const DEADLINE_MS = 120_000;

// Tests that start processes take long on a machine that does much else; what hangs is found by DEADLINE_MS.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

export interface Child {
  readonly process: ChildProcess;
  /** Standard output and standard error, as they came. */
  readonly lines: readonly string[];
  /** The first line, past or to come, that matches. @throws Error with all lines if the process ends or time does */
  line(pattern: RegExp, deadlineMs?: number): Promise<RegExpMatchArray>;
  /** Resolves when it has ended by itself. @throws Error with all lines unless it did so with exit code 0 */
  finish(): Promise<void>;
  /** Ends it and waits. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

export function startProcess(
  program: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Child {
  // The channel tells the child when this process is gone.
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", program, ...args], {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    env: { ...process.env, ...environment },
  });
  const lines: string[] = [];
  const watchers = new Set<() => void>();
  const look = (): void => {
    for (const watch of [...watchers]) watch();
  };
  for (const stream of [child.stdout!, child.stderr!]) {
    createInterface({ input: stream }).on("line", (line) => {
      lines.push(line);
      look();
    });
  }
  let ended = false;
  const exited = once(child, "close").then(([code, signal]) => {
    ended = true;
    look();
    return { code: code as number | null, signal: signal as NodeJS.Signals | null };
  });
  const kill = async (signal: NodeJS.Signals = "SIGKILL"): Promise<void> => {
    child.kill(signal);
    await exited;
  };
  onTestFinished(() => kill());
  return {
    process: child,
    lines,
    exited,
    kill,
    async finish() {
      const { code, signal } = await exited;
      if (code !== 0) throw new Error(`The process ended with ${code ?? signal}:\n${lines.join("\n")}`);
    },
    line: (pattern, deadlineMs = DEADLINE_MS) =>
      new Promise((resolve, reject) => {
        const fail = (why: string): void => {
          done();
          reject(new Error(`${why} before a line matched ${pattern}:\n${lines.join("\n")}`));
        };
        const timer = setTimeout(fail, deadlineMs, `${deadlineMs} ms went by`);
        const watch = (): void => {
          const match = lines.map((line) => line.match(pattern)).find((found) => found !== null);
          if (match !== undefined) {
            done();
            resolve(match!);
          } else if (ended) fail("The process ended");
        };
        const done = (): void => {
          clearTimeout(timer);
          watchers.delete(watch);
        };
        watchers.add(watch);
        watch();
      }),
  };
}

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "fedloom-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
