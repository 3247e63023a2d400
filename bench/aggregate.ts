/**
 * Aggregation: GB/s and peak memory of one round, updates on disk (in the page cache), beside numpy and Flower with
 * the same updates in memory where BENCH_PYTHON names an interpreter that has them.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { writeSafetensors } from "../adapters/safetensors.ts";
import { adapterOf, HIDDEN, RANK } from "./aggregate/layout.ts";
import type { Bench, Table } from "./report.ts";

const MIB = 16;
const ROUNDS = 7;
/** Rules that sum, sort, compare and factorize. */
const CASES: readonly (readonly [strategy: string, clients: number, rounds: number])[] = [
  ["fedavg", 10, ROUNDS],
  ["fedavg", 100, 5],
  ["fedavg", 400, 3],
  ["fedadam", 10, ROUNDS],
  ["fedadam", 100, 5],
  ["median", 10, 3],
  ["median", 100, 2],
  ["krum", 10, ROUNDS],
  ["krum", 100, 2],
  ["flexlora", 10, 3],
  ["flexlora", 100, 1],
];

interface Measured {
  readonly seconds: readonly number[];
  /** Of all threads together: what a machine with other work on it does not change. */
  readonly cpuSeconds: readonly number[];
  readonly peakMib: number;
}

export const bench: Bench = {
  title: "Aggregation",
  usage: [
    "--only NAME   one rule",
    "--threads N   worker threads (default: as many as processors, at most 4)",
  ],
  async run(args, log) {
    const at = args.indexOf("--threads");
    const threads = at < 0 ? Math.min(4, availableParallelism()) : Number(args[at + 1]);
    const only = args.includes("--only") ? args[args.indexOf("--only") + 1] : undefined;
    const directory = mkdtempSync(join(tmpdir(), "fedloom-bench-aggregate-"));
    try {
      log(`writing 101 adapters of ${MIB} MiB`);
      writeFileSync(
        join(directory, "global.safetensors"),
        writeSafetensors(adapterOf(MIB, "global").tensors),
      );
      for (let k = 0; k < 100; k++) {
        const { tensors } = adapterOf(MIB, `update ${k}`);
        writeFileSync(join(directory, `update-${k}.safetensors`), writeSafetensors(tensors));
      }
      const rows: (string | number)[][] = [];
      for (const [strategy, clients, rounds] of CASES) {
        if (only !== undefined && strategy !== only) continue;
        const ours = measured(join(import.meta.dirname, "aggregate", "measure.ts"), process.execPath, [
          ...[directory, strategy, String(clients), String(threads), String(rounds)],
        ])[0]!;
        rows.push(rowOf(`fedloom ${strategy}`, clients, ours));
        log(rows.at(-1)!.join("  "));
      }
      return {
        text: TEXT.replace("THREADS", String(threads)),
        tables: [tableOf(rows), ...(await others(log))],
      };
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
};

const TEXT = `Updates of ${MIB} MiB: float32 factors of rank ${RANK} for projections of ${HIDDEN} x ${HIDDEN}. fedloom reads them
from files (in the page cache) in THREADS worker threads, sums in float64 and checks that the result is finite; numpy and
Flower have all of them in memory beforehand and use one thread. Median of the rounds after the first. Peak memory is that
of the whole process, runtime and global adapter included. The rows of 400 clients send the 100 files again. FlexLoRA's
factors are drawn without anything in common, the hardest there is for it: clients of a round, which began at the same
adapter, take a fraction of that.`;

async function others(log: (line: string) => void): Promise<Table[]> {
  const python = process.env.BENCH_PYTHON;
  if (python === undefined) return [];
  const rows: (string | number)[][] = [];
  for (const [script, label] of [
    ["average.py", "numpy"],
    ["flower.py", "Flower"],
  ] as const) {
    for (const clients of [10, 100]) {
      const path = join(import.meta.dirname, "aggregate", script);
      for (const result of measured(path, python, [String(clients), String(MIB), "5"])) {
        rows.push(rowOf(`${label} ${result.name}`, clients, result));
        log(rows.at(-1)!.join("  "));
      }
    }
  }
  return [tableOf(rows)];
}

function measured(
  script: string,
  interpreter: string,
  args: readonly string[],
): (Measured & { readonly name?: string })[] {
  const done = spawnSync(interpreter, [script, ...args], { encoding: "utf8" });
  if (done.status !== 0) throw new Error(`${script} ended with ${done.status}: ${done.stderr}`);
  return done.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

function rowOf(
  label: string,
  clients: number,
  { seconds, cpuSeconds, peakMib }: Measured,
): (string | number)[] {
  const wall = warmMedian(seconds);
  return [label, clients, wall, warmMedian(cpuSeconds), (clients * MIB * 2 ** 20) / 1e9 / wall, peakMib];
}

function warmMedian(values: readonly number[]): number {
  const warm = [...(values.length > 1 ? values.slice(1) : values)].sort((a, b) => a - b);
  return warm[warm.length >> 1]!;
}

function tableOf(rows: readonly (readonly (string | number)[])[]): Table {
  return { columns: ["rule", "clients", "s a round", "CPU s", "GB/s", "peak MiB"], rows };
}
