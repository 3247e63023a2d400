/**
 * Runs a user's command on a task folder: its JSON lines are progress, its other output is kept for the error
 * message, its end is awaited, and it is stopped when asked, first gently, then not.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { Clock } from "../../base/clock.ts";
import { FedloomError } from "../../base/errors.ts";

/** The variable that tells the command where its task is. */
export const TASK_VARIABLE = "FEDLOOM_TASK";

/** How long a stopped command may take to end by itself, before it is killed. */
const GRACE_MS = 10_000;
/** Lines of other output that an error message carries to the log. */
const TAIL_LINES = 20;

export interface CommandRun {
  /** A line for the shell. */
  readonly command: string;
  readonly folder: string;
  readonly clock: Clock;
  /** Called with each line of output that is a JSON object. */
  onLine?(value: Readonly<Record<string, unknown>>): void;
  readonly signal?: AbortSignal | undefined;
}

/** @throws FedloomError F2136 once the signal aborts, F2141 where the command cannot run or fails */
export async function runCommand({ command, folder, clock, onLine, signal }: CommandRun): Promise<void> {
  const child = spawn(command, {
    shell: true,
    // A group of its own, so that what the shell started ends with it.
    detached: process.platform !== "win32",
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, [TASK_VARIABLE]: folder },
  });
  const tail: string[] = [];
  const keep = (line: string): void => {
    tail.push(line);
    if (tail.length > TAIL_LINES) tail.shift();
  };
  const reading = Promise.all([
    eachLine(child.stdout!, (line) => {
      const value = jsonObject(line);
      if (value === undefined) keep(line);
      else onLine?.(value);
    }),
    eachLine(child.stderr!, keep),
  ]);
  let forget = (): void => {};
  const stop = (): void => {
    kill(child, "SIGTERM");
    forget = clock.after(GRACE_MS, () => kill(child, "SIGKILL"));
  };
  signal?.addEventListener("abort", stop, { once: true });
  if (signal?.aborted === true) stop();
  try {
    const ended = await new Promise<{ code: number | null; killedBy: string | null }>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, killedBy) => resolve({ code, killedBy }));
    });
    await reading;
    if (signal?.aborted === true) {
      throw new FedloomError(
        "F2136",
        "The training command was stopped before its end",
        {},
        { cause: signal.reason },
      );
    }
    if (ended.code === 0) return;
    const how =
      ended.code === null ? `was killed by ${ended.killedBy}` : `ended with exit code ${ended.code}`;
    // What a command prints may hold data: it goes into the cause, for the local log, not into the message.
    throw new FedloomError(
      "F2141",
      `Cannot finish the task: the training command ${how}; the client's log has its last lines`,
      { exitCode: ended.code },
      { cause: new Error(tail.join("\n")) },
    );
  } finally {
    signal?.removeEventListener("abort", stop);
    forget();
  }
}

function kill(child: ChildProcess, how: NodeJS.Signals): void {
  if (child.pid === undefined || child.exitCode !== null) return;
  try {
    if (process.platform === "win32") child.kill(how);
    else process.kill(-child.pid, how);
  } catch {
    // It ended between the look and the call.
  }
}

async function eachLine(stream: Readable, on: (line: string) => void): Promise<void> {
  for await (const line of createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY })) on(line);
}

function jsonObject(line: string): Readonly<Record<string, unknown>> | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    const value: unknown = JSON.parse(line);
    // as: an object that JSON.parse made
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined; // not for us: the command prints what it likes
  }
}
