/**
 * Codecs for updates: bytes on the wire, speed at both ends, and what a run learns with them.
 *
 * Speed: an update of 16 MiB of float32 differences, each codec alone. Learning: the demo's federation (four clients,
 * one process) for some rounds with each codec, all else equal.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { codecOf } from "../adapters/codecs/index.ts";
import { silentLog } from "../base/log.ts";
import { createRng } from "../base/rng.ts";
import { embeddedModelDirectory } from "../cli/demo/assets.ts";
import { SITES, writeDemoData } from "../cli/demo/data.ts";
import { demoRunFile } from "../cli/demo/run-file.ts";
import { loadRunFile } from "../cli/run-file.ts";
import { examplesOf } from "../data/dataset.ts";
import { openDataset } from "../data/open-dataset.ts";
import { type FleetOptions, startFleet } from "../scenarios/fleet/fleet.ts";
import { openOnnxTrainer } from "../training/onnx-trainer.ts";
import type { Bench, Report, Table } from "./report.ts";

const MIB = 2 ** 20;
const ELEMENTS = 4 * MIB;
const REPEATS = 5;
const CODECS = ["fp32", "fp16", "bf16", "int8", "int4", "topk", "rows/fp32"];

function speedTable(log: (line: string) => void): Table {
  const rng = createRng("bench codecs");
  const reference = Float32Array.from({ length: ELEMENTS }, () => 0.05 * rng.normal());
  const values = reference.map((value) => value + 0.001 * rng.normal());
  const shape = [ELEMENTS / 1024, 1024];
  const bytes = 4 * ELEMENTS;
  const rows = CODECS.map((name) => {
    log(`speed of ${name}`);
    const codec = codecOf(name);
    const encoded = codec.encode(values, reference, shape, rng);
    const encodeMs = fastest(() => codec.encode(values, reference, shape, rng));
    const decodeMs = fastest(() => codec.decode(encoded, reference, shape));
    const rate = (ms: number) => bytes / MIB / (ms / 1000);
    const share = `${((100 * encoded.length) / bytes).toFixed(1)} %`;
    return [name, share, name === "fp32" ? "no copy" : rate(encodeMs), rate(decodeMs)];
  });
  return { columns: ["codec", "bytes of float32", "encode MiB/s", "decode MiB/s"], rows };
}

function fastest(work: () => unknown): number {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < REPEATS; i++) {
    const start = performance.now();
    work();
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

async function learningTable(rounds: number, log: (line: string) => void): Promise<Table> {
  const folder = mkdtempSync(join(tmpdir(), "fedloom-bench-codecs-"));
  const model = embeddedModelDirectory();
  const trainer = await openOnnxTrainer({ model, device: "cpu" });
  try {
    await writeDemoData(join(folder, "data"), 42);
    const file = join(folder, "run.yaml");
    writeFileSync(file, demoRunFile({ model, rounds, seed: 42 }));
    const clients = await Promise.all(
      SITES.map(async ({ name }) => {
        const train = examplesOf(await openDataset(join(folder, "data", name)), "train");
        return { id: name, shard: { train, heldOut: [] } };
      }),
    );
    const rows: (string | number)[][] = [];
    for (const codec of CODECS) {
      const { config } = await loadRunFile(file, [`codec=${codec}`]);
      rows.push(await learn({ config, trainer, device: "cpu", log: silentLog, clients }, codec));
      log(rows.at(-1)!.join("  "));
    }
    return { columns: ["codec", "bytes up a round", "accuracy", "loss", "best accuracy"], rows };
  } finally {
    await trainer.close();
    rmSync(folder, { recursive: true });
  }
}

async function learn(options: FleetOptions, codec: string): Promise<(string | number)[]> {
  const fleet = await startFleet(options);
  try {
    await fleet.ended;
    const { rounds } = fleet.engine;
    const last = rounds.at(-1)!;
    const accuracies = rounds.map(({ metrics }) => metrics.accuracy ?? Number.NaN);
    return [codec, last.bytesUp, last.metrics.accuracy!, last.metrics.loss!, Math.max(...accuracies)];
  } finally {
    await fleet.close();
  }
}

export const bench: Bench = {
  title: "Codecs for updates",
  usage: ["--rounds N  rounds of the demo's federation for each codec (8); 0: speed alone"],
  async run(args, log): Promise<Report> {
    const at = args.indexOf("--rounds");
    const rounds = at < 0 ? 8 : Number(args[at + 1]);
    const speed = speedTable(log);
    const tables = rounds > 0 ? [speed, await learningTable(rounds, log)] : [speed];
    return {
      text:
        `First table: ${(4 * ELEMENTS) / MIB} MiB of float32 in which everything changed, the fastest of ${REPEATS} runs on one ` +
        "thread. Changed rows alone (`rows/…`) gain nothing there: they are for embeddings. Second table: the demo's " +
        `federation after ${rounds} rounds, one seed, held-out accuracy and loss. One seed on 144 examples does not ` +
        "tell codecs apart that lie a few percent from each other; `topk` learns more slowly.",
      tables,
    };
  },
};
