/** Fleets in one process: clients a second and memory, and the same rounds in Flower's simulation. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import type { EchoSpec, FleetSpec, NanoSpec, RoundLine } from "./fleet/cases.ts";
import { treeMib } from "./fleet/process-tree.ts";
import { type Bench, median, type Table } from "./report.ts";

interface Measured {
  /** From the start of the process to the end of round 1. */
  readonly firstSeconds: number;
  /** Median of the rounds after the first. */
  readonly roundSeconds: number;
  readonly peakMib: number;
}

const SAMPLE_MS = 250;

/** Training one after the other takes each client the same time, however many there are. */
const MAX_APART = 100;

export const bench: Bench = {
  title: "Fleets: simulated clients",
  usage: [
    "--rounds N   rounds of each fleet (6)",
    "--clients L  list of numbers of training clients (10,100,1000)",
    "--threads N  threads of the runtime (2)",
    "--only KIND  echo or nano alone",
    "--echo L     list of clients x MiB of those that echo (10x16,100x1,1000x0.25)",
    "BENCH_PYTHON names an interpreter with flwr[simulation]",
  ],
  async run(args, log) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        rounds: { type: "string", default: "6" },
        clients: { type: "string", default: "10,100,1000" },
        threads: { type: "string", default: "2" },
        only: { type: "string" },
        echo: { type: "string", default: "10x16,100x1,1000x0.25" },
      },
    });
    const rounds = Number(values.rounds);
    const tables: Table[] = [];
    if (values.only !== "nano") tables.push(await echoTable(echoesOf(values.echo, rounds), log));
    if (values.only !== "echo") {
      const clients = values.clients.split(",").map(Number);
      tables.push(await nanoTable(clients, rounds, Number(values.threads), log));
    }
    return { text: TEXT, tables };
  },
};

const TEXT = `Each fleet is a process of its own. "first" is the time from its start to the end of round 1, "round" the median of the
rounds after it. Echoed updates lie in a temporary file, which the system keeps in its file cache; that is not counted. Memory
is the largest sum of the proportional set sizes of the process and all that it started, looked at four times a second. First
table: every client sends back what it was handed, moved by a constant of its own; eight float32 tensors; FedAvg; Flower's simulation runs
on Ray with a processor a client. "least" is a round without a coordinator, in one thread: the same tensors made, hashed, written to a file,
read and checked, read and summed (bench/fleet/least-round.ts); fedloom hashes and writes in a second thread, and with two
processors no ratio can be below half of it. Second table: real training of a LoRA adapter (rank 8 on q, k, v, o) of
the embedded model, four examples with pictures a client, all clients in every round.`;

/** @param list "10x16" is 10 clients of 16 MiB */
function echoesOf(list: string, rounds: number): EchoSpec[] {
  return list.split(",").map((one) => {
    const [clients, mib] = one.split("x").map(Number) as [number, number];
    return { kind: "echo", clients, mib, rounds };
  });
}

async function echoTable(specs: readonly EchoSpec[], log: (line: string) => void): Promise<Table> {
  const python = process.env.BENCH_PYTHON;
  const rows: (string | number)[][] = [];
  for (const spec of specs) {
    log(`${spec.clients} clients of ${spec.mib} MiB`);
    const program = (name: string): string => join(import.meta.dirname, "fleet", name);
    const ours = await measure(process.execPath, program("our-fleet.ts"), spec);
    const least = await measure(process.execPath, program("least-round.ts"), spec);
    const theirs = python === undefined ? undefined : await measure(python, program("flower_echo.py"), spec);
    rows.push([
      `${spec.clients} x ${spec.mib} MiB`,
      ours.firstSeconds,
      ours.roundSeconds,
      spec.clients / ours.roundSeconds,
      ours.peakMib,
      least.roundSeconds,
      ...(theirs === undefined
        ? ["-", "-", "-", "-", "-", "-"]
        : [
            theirs.firstSeconds,
            theirs.roundSeconds,
            theirs.peakMib,
            ours.roundSeconds / theirs.roundSeconds,
            least.roundSeconds / theirs.roundSeconds,
            ours.peakMib / theirs.peakMib,
          ]),
    ]);
    log(rows.at(-1)!.join("  "));
  }
  return {
    columns: [
      "clients that echo",
      "first s",
      "round s",
      "clients/s",
      "MiB",
      "least round s",
      "Flower first s",
      "Flower round s",
      "Flower MiB",
      "time ratio",
      "least ratio",
      "memory ratio",
    ],
    rows,
  };
}

async function nanoTable(
  counts: readonly number[],
  rounds: number,
  threads: number,
  log: (line: string) => void,
): Promise<Table> {
  const rows: (string | number)[][] = [];
  for (const clients of counts) {
    const of = (batching: boolean): NanoSpec => ({ kind: "nano", clients, rounds, batching, threads });
    const program = join(import.meta.dirname, "fleet/our-fleet.ts");
    log(`${clients} training clients`);
    const apart = clients <= MAX_APART ? await measure(process.execPath, program, of(false)) : undefined;
    const together = await measure(process.execPath, program, of(true));
    rows.push([
      clients,
      ...(apart === undefined
        ? ["-", "-", "-"]
        : [apart.roundSeconds, clients / apart.roundSeconds, apart.peakMib]),
      together.firstSeconds,
      together.roundSeconds,
      clients / together.roundSeconds,
      together.peakMib,
      apart === undefined ? "-" : together.roundSeconds / apart.roundSeconds,
    ]);
    log(rows.at(-1)!.join("  "));
  }
  return {
    columns: [
      "clients that train",
      "round s, batching off",
      "clients/s",
      "MiB",
      "first s, batching on",
      "round s",
      "clients/s",
      "MiB",
      "time ratio",
    ],
    rows,
  };
}

/** Runs a program that prints a line a round, and watches its memory. @throws Error where it fails */
async function measure(command: string, program: string, spec: FleetSpec): Promise<Measured> {
  const startedMs = performance.now();
  const child = spawn(command, [program, JSON.stringify(spec)], { stdio: ["ignore", "pipe", "pipe"] });
  const errors: string[] = [];
  child.stderr.on("data", (bytes: Buffer) => errors.push(bytes.toString()));
  let peakMib = 0;
  const look = (): void => {
    peakMib = Math.max(peakMib, child.pid === undefined ? 0 : treeMib(child.pid));
  };
  const timer = setInterval(look, SAMPLE_MS);
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  const ends: RoundLine[] = [];
  let firstMs = Number.NaN;
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith('{"round"')) continue;
    if (ends.length === 0) firstMs = performance.now() - startedMs;
    ends.push(JSON.parse(line));
    look();
  }
  const code = await ended;
  clearInterval(timer);
  if (code !== 0 || ends.length !== spec.rounds) {
    throw new Error(
      `${program} ended with ${code} after ${ends.length} rounds:\n${errors.join("").slice(-2000)}`,
    );
  }
  const roundSeconds = median(ends.slice(1).map(({ at }, i) => at - ends[i]!.at));
  return { firstSeconds: firstMs / 1000, roundSeconds, peakMib };
}
