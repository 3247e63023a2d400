/**
 * What a training step costs on tfjs: the demo's model, adapter and data of one site, on every backend that is
 * installed, against onnxruntime with one thread. The trainers take turns; the first steps, which open programs, are
 * left out.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tinyModelDirectory } from "../cli/demo/assets.ts";
import { writeDemoData } from "../cli/demo/data.ts";
import { trainingOptions } from "../config/training.ts";
import { examplesOf } from "../data/dataset.ts";
import { openDataset } from "../data/open-dataset.ts";
import { openOnnxTrainer } from "../training/onnx-trainer.ts";
import { type Backend, loadTfjs } from "../training/tfjs/load.ts";
import { openTfjsTrainer } from "../training/tfjs-trainer.ts";
import type { Trainer } from "../training/trainer.ts";
import type { Bench, Report } from "./report.ts";

const ROUNDS = 3;
const STEPS = 12;
/** Steps that open a program each: rows of other lengths are other programs. */
const OPENING = 5;

async function trainers(): Promise<Map<string, Trainer>> {
  const model = tinyModelDirectory();
  const open = new Map<string, Trainer>([["onnxruntime", await openOnnxTrainer({ model, threads: 1 })]]);
  const loaded = await loadTfjs("cpu", { threads: 1 });
  const backends: readonly Backend[] =
    loaded.backend === "tensorflow" ? ["tensorflow"] : loaded.backend === "wasm" ? ["wasm", "cpu"] : ["cpu"];
  for (const backend of backends)
    open.set(`tfjs ${backend}`, await openTfjsTrainer({ model, tfjs: { tf: loaded.tf, backend } }));
  return open;
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

async function run(_args: readonly string[], log: (line: string) => void): Promise<Report> {
  const folder = mkdtempSync(join(tmpdir(), "fedloom-bench-tfjs-"));
  const open = await trainers();
  try {
    await writeDemoData(folder, 1);
    const examples = await examplesOf(await openDataset(join(folder, "harbor")), "train");
    const [first] = open.values();
    const adapter = await first!.createAdapter(
      {
        rank: 16,
        alpha: 32,
        rslora: false,
        dropout: 0,
        targets: "all-linear",
        rankPattern: {},
        alphaPattern: {},
        modulesToSave: [],
      },
      "1",
    );
    const options = trainingOptions.parse({
      learning_rate: 5e-3,
      per_device_train_batch_size: 8,
      max_length: 128,
      max_steps: STEPS,
    });
    const times = new Map([...open.keys()].map((name) => [name, [] as number[]]));
    for (let round = 0; round < ROUNDS; round++) {
      for (const [name, trainer] of open) {
        let last = 0;
        await trainer.train({ adapter, seed: "s", options }, examples, {
          onProgress: ({ step }) => {
            const now = performance.now();
            if (step > OPENING) times.get(name)!.push(now - last);
            last = now;
          },
        });
        log(`${name}: ${median(times.get(name)!).toFixed(1)} ms a step`);
      }
    }
    const base = median(times.get("onnxruntime")!);
    return {
      text: `Median of ${ROUNDS * (STEPS - OPENING)} steps of ${options.per_device_train_batch_size} examples of the demo's site "harbor", rank 16 on all linear layers, one thread each.`,
      tables: [
        {
          columns: ["runtime", "ms a step", "times onnxruntime"],
          rows: [...times].map(([name, of]) => [name, median(of), median(of) / base]),
        },
      ],
    };
  } finally {
    for (const trainer of open.values()) await trainer.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

export const bench: Bench = { title: "a training step on tfjs against onnxruntime", run };
