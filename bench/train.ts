/** A LoRA step of a SmolVLM-256M-shaped decoder: ours, and PyTorch + PEFT's where BENCH_PYTHON names an interpreter that has them. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Device } from "../training/onnx/runtime.ts";
import { type Bench, ratioText } from "./report.ts";
import { CASES, type Sample, type Spec, type TrainCase } from "./train/cases.ts";
import { SMOLVLM_256M, writeDecoder } from "./train/decoder.ts";
import { Side } from "./train/side.ts";

interface Settings {
  readonly processes: number;
  readonly rounds: number;
  readonly threads: readonly number[];
  readonly modes: readonly Spec["mode"][];
  readonly device: Device;
  readonly layers: number;
  readonly cases: readonly TrainCase[];
}

export const bench: Bench = {
  title: "A LoRA training step of a 256M decoder, against its forward pass and PyTorch + PEFT",
  usage: [
    "--processes N  pairs of processes, one after the other (2)",
    "--rounds N   steps of each side in a pair, alternating (5)",
    "--threads L  list of thread counts (1,2)",
    "--modes L    lean,fast,recompute",
    "--device D   cpu, cuda or webgpu",
    "--layers N   layers of the decoder (30)",
    "--cases L    numbers of the cases, from 1 (all)",
    "BENCH_PYTHON names an interpreter with torch, transformers and peft",
  ],
  async run(args, log) {
    const settings = settingsOf(args);
    const shape = { ...SMOLVLM_256M, layers: settings.layers };
    const folder = mkdtempSync(join(tmpdir(), "fedloom-bench-train-"));
    try {
      log(`writing a decoder of ${shape.layers} layers to ${folder}`);
      const model = writeDecoder(folder, shape);
      const rows: (string | number)[][] = [];
      for (const threads of settings.threads)
        for (const wanted of settings.cases)
          for (const mode of settings.modes) {
            const spec: Spec = { ...wanted, shape, model, threads, mode, device: settings.device };
            log(`${wanted.name}, ${threads} thread(s), ${mode}`);
            rows.push(await measure(spec, settings));
          }
      return { text: TEXT, tables: [{ columns: COLUMNS, rows }] };
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};

const TEXT = `LoRA of rank 8 on q, k, v, o of a decoder with 30 layers, hidden 576, vocabulary 49,280, float32, random weights:
forward, backward and AdamW. Both sides run in processes of their own and take steps in turn; the first two of each
are not counted. Where the system happens to put a process's memory changes its speed for as long as it lives, so that
each row is of several pairs of processes. Seconds are the smallest of a side; ratios are ours over PyTorch's, of the
smallest and, behind the stroke, the median of the ratios of each round. Memory is the largest peak of a whole process,
Node or Python included; "estimate" is what the engine says beforehand, over that. "ready" is reading the graph, making
the training graph and opening the session, at its shortest: the opening and the first step without one later step. "step / forward" compares with our own
forward pass of the same labelled rows. Mode "recompute" is lean with activations computed again.`;

const COLUMNS = [
  "case",
  "threads",
  "mode",
  "ready s",
  "our CPU s",
  "our wall s",
  "tokens/s",
  "step / forward",
  "our MiB",
  "estimate",
  "torch CPU s",
  "torch wall s",
  "torch MiB",
  "CPU ratio",
  "wall ratio",
  "memory ratio",
];

/** What a pair of processes gave; nothing of PyTorch where it is not asked. */
interface Pair {
  readonly ready: number;
  readonly mine: readonly Sample[];
  readonly theirs: readonly Sample[];
  readonly forward: readonly Sample[];
  readonly estimateMib: number;
}

async function measurePair(spec: Spec, rounds: number): Promise<Pair> {
  const python = process.env.BENCH_PYTHON;
  const ours = await Side.ours(spec);
  const first = await ours.ask("step");
  const torch = python === undefined ? undefined : await Side.torch(python, spec);
  await ours.ask("step");
  await torch?.ask("step");
  await torch?.ask("step");
  const mine: Sample[] = [];
  const theirs: Sample[] = [];
  for (let round = 0; round < rounds; round++) {
    mine.push(await ours.ask("step"));
    if (torch) theirs.push(await torch.ask("step"));
  }
  const estimateMib = await ours.estimate();
  // The forward graph is a second session: it comes last, so that it does not count as memory of the step.
  await ours.ask("forward");
  const forward: Sample[] = [];
  for (let round = 0; round < rounds; round++) forward.push(await ours.ask("forward"));
  ours.close();
  torch?.close();
  const { openedSeconds = 0 } = ours.opening;
  return { ready: openedSeconds + first.wall - least(mine, "wall"), mine, theirs, forward, estimateMib };
}

async function measure(spec: Spec, { processes, rounds }: Settings): Promise<(string | number)[]> {
  const pairs: Pair[] = [];
  for (let i = 0; i < processes; i++) pairs.push(await measurePair(spec, rounds));
  const mine = pairs.flatMap((pair) => pair.mine);
  const theirs = pairs.flatMap((pair) => pair.theirs);
  const forward = pairs.flatMap((pair) => pair.forward);
  const memory = most(mine);
  const wall = least(mine, "wall");
  const own = [
    spec.name,
    spec.threads,
    spec.mode,
    Math.min(...pairs.map(({ ready }) => ready)),
    least(mine, "cpu"),
    wall,
    spec.lengths.reduce((sum, length) => sum + length, 0) / wall,
    least(mine, "cpu") / least(forward, "cpu"),
    memory,
    pairs[0]!.estimateMib / memory,
  ];
  if (theirs.length === 0) return [...own, "-", "-", "-", "-", "-", "-"];
  const theirMemory = most(theirs);
  return [
    ...own,
    least(theirs, "cpu"),
    least(theirs, "wall"),
    theirMemory,
    ratio(mine, theirs, "cpu"),
    ratio(mine, theirs, "wall"),
    memory / theirMemory,
  ];
}

type Time = "cpu" | "wall";

const least = (samples: readonly Sample[], key: Time): number => Math.min(...samples.map((s) => s[key]));

const most = (samples: readonly Sample[]): number => Math.max(...samples.map(({ rss }) => rss));

const ratio = (mine: readonly Sample[], theirs: readonly Sample[], key: Time): string =>
  ratioText(
    mine.map((sample) => sample[key]),
    theirs.map((sample) => sample[key]),
  );

function settingsOf(args: readonly string[]): Settings {
  const { values } = parseArgs({
    args: [...args],
    options: {
      processes: { type: "string", default: "2" },
      rounds: { type: "string", default: "5" },
      threads: { type: "string", default: "1,2" },
      modes: { type: "string", default: "lean,fast,recompute" },
      device: { type: "string", default: "cpu" },
      layers: { type: "string", default: "30" },
      cases: { type: "string", default: CASES.map((_, i) => i + 1).join() },
    },
  });
  return {
    processes: Number(values.processes),
    rounds: Number(values.rounds),
    threads: values.threads.split(",").map(Number),
    modes: values.modes.split(",") as Spec["mode"][], // an unknown one is refused by the engine's options
    device: values.device as Device,
    layers: Number(values.layers),
    cases: values.cases.split(",").map((number) => caseOf(number)),
  };
}

function caseOf(number: string): TrainCase {
  const found = CASES[Number(number) - 1];
  if (found === undefined)
    throw new TypeError(`--cases must be numbers from 1 to ${CASES.length}, got "${number}"`);
  return found;
}
