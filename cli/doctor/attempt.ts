/** Tries something in a process of its own, which native code may end or hang, and tells what came of it. */
import { spawn } from "node:child_process";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { messageOf } from "../../base/errors.ts";

export interface Attempt<Answer> {
  /** The JSON of the last line that the script printed; others may have printed lines before. */
  readonly answer: Answer | undefined;
  /** How it ended where it gave no answer. */
  readonly end: string;
  readonly stderr: string;
}

/** What starts takes a second or two; what hangs is given up. */
const TIMEOUT_MS = 60_000;

/** @param name of a script in this folder, without its extension */
export function attempt<Answer>(name: string, args: readonly string[]): Promise<Attempt<Answer>> {
  const script = fileURLToPath(new URL(`./${name}${extname(import.meta.url)}`, import.meta.url));
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [script, ...args], { timeout: TIMEOUT_MS, killSignal: "SIGKILL" });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    child.on("error", (error) => resolve({ answer: undefined, end: messageOf(error), stderr }));
    child.on("close", (code, signal) =>
      resolve({ answer: answerIn(stdout), end: `it ended with ${signal ?? code}`, stderr }),
    );
  });
}

function answerIn<Answer>(stdout: string): Answer | undefined {
  try {
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
  } catch {
    return undefined;
  }
}
