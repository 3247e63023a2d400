/** Cells in processes of their own: the end that the replay holds. */
import { type ChildProcess, fork } from "node:child_process";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { type Code, FedloomError } from "../../base/errors.ts";
import type { CellRunner } from "../../scenarios/replay/cell-runner.ts";
import type { Pace } from "../../scenarios/replay/pace.ts";
import type { CellResult } from "../../scenarios/replay/run-cell.ts";
import type { FromCellProcess, ProcessOptions, ToCellProcess } from "./cell-process.ts";

/** @throws FedloomError what opening the model throws; F6025 where the process ends */
export async function openCellProcess(options: ProcessOptions): Promise<CellRunner> {
  const path = fileURLToPath(new URL(`./cell-process${extname(import.meta.url)}`, import.meta.url));
  const child = fork(path, {
    serialization: "advanced", // JSON would make null of numbers that are not finite
    execArgv: ["--disable-warning=ExperimentalWarning"],
  });
  const lost = (): boolean => child.exitCode !== null || child.signalCode !== null || !child.connected;
  const runner: CellRunner = {
    // as: the process answers each kind of message with what it asks for
    run: async (cell, protocol) => (await ask(child, { kind: "run", cell, protocol })) as CellResult,
    pace: async (dataset, protocol) => (await ask(child, { kind: "pace", dataset, protocol })) as Pace,
    lost,
    async close() {
      if (lost()) return;
      const exited = new Promise((resolve) => child.once("exit", resolve));
      child.disconnect();
      await exited;
    },
  };
  try {
    await ask(child, { kind: "open", options });
  } catch (error) {
    await runner.close();
    throw error;
  }
  return runner;
}

function ask(child: ChildProcess, message: ToCellProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null, signal: NodeJS.Signals | null): void => {
      child.off("message", answered);
      reject(
        new FedloomError(
          "F6025",
          `Cannot finish the cell: its process ended with ${signal ?? `status ${code}`}${signal === "SIGKILL" ? ", as the system does where memory runs out" : ""}`,
          { status: code, signal },
        ),
      );
    };
    const answered = (answer: FromCellProcess): void => {
      child.off("exit", ended);
      if (answer.ok) resolve(answer.value);
      // as: the process sends codes of its errors
      else if (answer.code !== undefined) reject(new FedloomError(answer.code as Code, answer.message));
      else reject(new Error(answer.message));
    };
    child.once("message", answered);
    child.once("exit", ended);
    child.send(message, (error) => {
      if (error !== null && child.connected) reject(error);
    });
  });
}
