/** The same load on Flower, where BENCH_PYTHON names an interpreter that has it. */
import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { median } from "../report.ts";

export interface FlowerRounds {
  /** Median of the rounds after the first. */
  readonly roundS: number;
  readonly peakMib: number;
}

interface Line {
  readonly round: number;
  readonly seconds: number;
  readonly peakMib: number;
}

/** @returns its version; undefined where there is no interpreter, or none with Flower */
export function flowerVersion(): string | undefined {
  const python = process.env.BENCH_PYTHON;
  if (python === undefined) return undefined;
  const asked = spawnSync(python, ["-c", "import flwr; print(flwr.__version__)"], { encoding: "utf8" });
  return asked.status === 0 ? asked.stdout.trim() : undefined;
}

/** @param engine "grpc": server and long-lived clients; "deployment": SuperLink, SuperNodes and a process a task */
export async function measureFlower(
  engine: "grpc" | "deployment",
  { clients, payloadMib, rounds }: { clients: number; payloadMib: number; rounds: number },
): Promise<FlowerRounds> {
  const script = join(import.meta.dirname, `flower_${engine}.py`);
  const port = 20_000 + Math.floor(process.pid % 20_000);
  const child = spawn(
    process.env.BENCH_PYTHON!,
    [script, ...[clients, payloadMib, rounds, port].map(String)],
    {
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-4_000);
  });
  const lines: Line[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.startsWith("{")) lines.push(JSON.parse(line));
  }
  if (lines.length < rounds)
    throw new Error(`Flower ended after ${lines.length} of ${rounds} rounds:\n${said}`);
  const counted = lines.slice(1).map(({ seconds }) => seconds);
  return { roundS: median(counted), peakMib: Math.max(...lines.map(({ peakMib }) => peakMib)) };
}
