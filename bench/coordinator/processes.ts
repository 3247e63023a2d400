/** The benchmark's processes: a coordinator, a swarm of clients. Both end with the process that started them. */
import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { ServerLine, ServerOptions } from "./server.ts";

type LineOf<Kind> = Extract<ServerLine, { kind: Kind }>;

export interface ServerProcess {
  readonly child: ChildProcess;
  /** The next line of a kind; lines of other kinds are passed over. */
  next<Kind extends ServerLine["kind"]>(kind: Kind): Promise<LineOf<Kind>>;
}

/** @param flags of Node for the coordinator's process */
export function start(options: ServerOptions, flags: readonly string[] = []): ServerProcess {
  const child = fork(join(import.meta.dirname, "server.ts"), [JSON.stringify(options)], {
    stdio: ["ignore", "pipe", "inherit", "ipc"],
    execArgv: [...flags],
  });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  return {
    child,
    async next<Kind extends ServerLine["kind"]>(kind: Kind): Promise<LineOf<Kind>> {
      for (;;) {
        const { value, done } = await lines.next();
        if (done === true) throw new Error("The coordinator's process ended");
        const line: ServerLine = JSON.parse(value);
        // as: the check beside it is what the type says.
        if (line.kind === kind) return line as LineOf<Kind>;
      }
    },
  };
}

/** Clients in as many processes as the machine has processors. @returns ends them */
export function startSwarm(address: string, clients: number): () => void {
  const processes = Math.min(clients, availableParallelism());
  const swarm = join(import.meta.dirname, "swarm.ts");
  const children = Array.from({ length: processes }, (_, i) => {
    const first = Math.floor((i * clients) / processes);
    const share = { address, first, clients: Math.floor(((i + 1) * clients) / processes) - first };
    return fork(swarm, [JSON.stringify(share)], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  });
  return () => {
    for (const child of children) child.kill("SIGKILL");
  };
}

export async function inDirectory<T>(act: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), "fedloom-bench-"));
  try {
    return await act(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
