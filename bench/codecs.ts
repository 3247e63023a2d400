/**
 * Codecs for updates: bytes on the wire, speed at both ends, and what a run learns with them.
 *
 * Speed: an update of 16 MiB of float32 differences, each codec alone. Learning: the demo's federation (four clients,
 * one process) for some rounds with each codec and several seeds, all else equal.
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
import { type Bench, figure, type Report, type Table } from "./report.ts";

const MIB = 2 ** 20;
const ELEMENTS = 4 * MIB;
const REPEATS = 5;
const ROUNDS = 4;
const SEEDS = 3;
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

/** Of exact codecs one, of those that round to 16 bits one; `rows/…` sends what its inner codec sends. */
const LEARNING = ["fp32", "fp16", "int8", "int4", "topk"];

/** What a codec's run ended with. */
interface Learned {
  readonly bytesUp: number;
  readonly accuracy: number;
  readonly loss: number;
}

/** Every codec on the same data and from the same start for each seed, so that seeds are compared with themselves. */
async function learningTable(rounds: number, seeds: number, log: (line: string) => void): Promise<Table> {
  const folder = mkdtempSync(join(tmpdir(), "fedloom-bench-codecs-"));
  const model = embeddedModelDirectory();
  const trainer = await openOnnxTrainer({ model, device: "cpu" });
  try {
    const learned = new Map(LEARNING.map((codec) => [codec, [] as Learned[]]));
    for (let seed = 1; seed <= seeds; seed++) {
      const home = join(folder, String(seed));
      await writeDemoData(join(home, "data"), seed);
      const file = join(home, "run.yaml");
      writeFileSync(file, demoRunFile({ model, rounds, seed }));
      const clients = await Promise.all(
        SITES.map(async ({ name }) => {
          const train = examplesOf(await openDataset(join(home, "data", name)), "train");
          return { id: name, shard: { train, heldOut: [] } };
        }),
      );
      for (const codec of LEARNING) {
        const { config } = await loadRunFile(file, [`codec=${codec}`]);
        const result = await learn({ config, trainer, device: "cpu", log: silentLog, clients });
        learned.get(codec)!.push(result);
        log(`seed ${seed}  ${codec}  accuracy ${figure(result.accuracy)}  loss ${figure(result.loss)}`);
      }
    }
    const exact = learned.get("fp32")!;
    const rows = [...learned].map(([codec, runs]) => {
      const over = (metric: "accuracy" | "loss") =>
        codec === "fp32" ? "" : spread(runs.map((run, k) => run[metric] - exact[k]![metric]));
      const of = (metric: "accuracy" | "loss") => spread(runs.map((run) => run[metric]));
      return [codec, runs[0]!.bytesUp, of("accuracy"), of("loss"), over("accuracy"), over("loss")];
    });
    return {
      columns: ["codec", "bytes up a round", "accuracy", "loss", "accuracy − fp32's", "loss − fp32's"],
      rows,
    };
  } finally {
    await trainer.close();
    rmSync(folder, { recursive: true });
  }
}

async function learn(options: FleetOptions): Promise<Learned> {
  const fleet = await startFleet(options);
  try {
    await fleet.ended;
    const { bytesUp, metrics } = fleet.engine.rounds.at(-1)!;
    return { bytesUp, accuracy: metrics.accuracy!, loss: metrics.loss! };
  } finally {
    await fleet.close();
  }
}

/** Mean and standard deviation of a sample. */
function spread(values: readonly number[]): string {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  if (values.length < 2) return figure(mean);
  const squared = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
  return `${figure(mean)} ± ${Math.sqrt(squared).toPrecision(2)}`;
}

function option(args: readonly string[], name: string, otherwise: number, least: number): number {
  const at = args.indexOf(name);
  const value = at < 0 ? otherwise : Number(args[at + 1]);
  if (Number.isInteger(value) && value >= least) return value;
  throw new Error(`Cannot run with ${name} ${args[at + 1]}: a whole number of at least ${least} is wanted`);
}

export const bench: Bench = {
  title: "Codecs for updates",
  usage: [
    `--rounds N  rounds of the demo's federation for each codec (${ROUNDS}); 0: speed alone`,
    `--seeds N   federations, each with data and start of its own, for mean and deviation (${SEEDS})`,
  ],
  async run(args, log): Promise<Report> {
    const rounds = option(args, "--rounds", ROUNDS, 0);
    const seeds = option(args, "--seeds", SEEDS, 1);
    const speed = speedTable(log);
    const tables = rounds > 0 ? [speed, await learningTable(rounds, seeds, log)] : [speed];
    const first =
      `First table: ${(4 * ELEMENTS) / MIB} MiB of float32 in which everything changed, the fastest of ${REPEATS} runs on one ` +
      "thread. Changed rows alone (`rows/…`) gain nothing there: they are for embeddings.";
    const second =
      ` Second table: the demo's federation after ${rounds} rounds, held-out accuracy and loss, mean and deviation over ` +
      `${seeds} ${seeds === 1 ? "seed" : "seeds"}. A seed gives every codec the same data and the same start; the last two ` +
      "columns are of the differences from fp32 with the same seed, in which what the seeds do to all codecs alike falls out.";
    return { text: rounds > 0 ? first + second : first, tables };
  },
};
