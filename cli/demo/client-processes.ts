/** The demo's clients: one process each, with a log file each, and none of them left behind. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, openSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Clock } from "../../base/clock.ts";

export interface ClientProcess {
  readonly name: string;
  readonly args: readonly string[];
  readonly logFile: string;
}

export interface ClientProcesses {
  /** Asks all to end, ends those that do not, and resolves when the last is gone. */
  close(): Promise<void>;
}

/** A client ends within a training step; one that takes longer hangs. */
const GRACE_MS = 5_000;

/**
 * @param onDeath told when a process ends that nobody asked to
 */
export function startClientProcesses(
  clients: readonly ClientProcess[],
  { clock, onDeath }: { clock: Clock; onDeath: (client: ClientProcess, how: string) => void },
): ClientProcesses {
  let closing = false;
  const children = clients.map((client) => {
    const log = openSync(client.logFile, "a");
    // The IPC channel carries nothing: a client ends when it closes, so none outlives this process.
    const child = spawn(process.execPath, [programFile(), "client", ...client.args], {
      stdio: ["ignore", log, log, "ipc"],
    });
    closeSync(log);
    const gone = new Promise<void>((resolve) => {
      const over = (how: string): void => {
        if (!closing) onDeath(client, how);
        resolve();
      };
      child.once("error", (error) => over(error.message));
      child.once("exit", (code, signal) => over(signal ?? `exit code ${code}`));
    });
    return { child, gone };
  });
  return {
    async close() {
      closing = true;
      for (const { child } of children) end(child, "SIGTERM");
      const stopWaiting = clock.after(GRACE_MS, () => {
        for (const { child } of children) end(child, "SIGKILL");
      });
      await Promise.all(children.map(({ gone }) => gone));
      stopWaiting();
    },
  };
}

function end(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.exitCode === null && child.signalCode === null) child.kill(signal);
}

/** bin/fedloom.mjs: two levels up in the sources, three levels up in what tsc emits. */
function programFile(): string {
  const places = ["../../bin/fedloom.mjs", "../../../bin/fedloom.mjs"].map((place) =>
    fileURLToPath(new URL(place, import.meta.url)),
  );
  return places.find((place) => existsSync(place)) ?? places[0]!;
}
