/**
 * One LoRA step of the engine with AdamW per line of standard input ("step"), or one forward pass of the same
 * rows ("forward"); the twin of torch_step.py.
 */
import { createInterface } from "node:readline";
import { float32, type Tensor, tensor, tensorSet } from "../../adapters/tensor.ts";
import { createRng } from "../../base/rng.ts";
import { trainingOptions } from "../../config/training.ts";
import { Accumulator, type StepGradients } from "../../training/accumulate.ts";
import { openGraphFile } from "../../training/onnx/edge/files.ts";
import { openEngine } from "../../training/onnx/open.ts";
import { createOptimizer } from "../../training/optimizers.ts";
import type { Sample, Spec } from "./cases.ts";

const spec: Spec = JSON.parse(process.argv[2]!);
const rng = createRng("bench train");
const { batch, length, lengths, labels, shape, threads, mode, device } = spec;

const paths = Array.from({ length: shape.layers }, (_, layer) =>
  ["q", "k", "v", "o"].map((role) => `model.layers.${layer}.self_attn.${role}_proj`),
).flat();
const begun = performance.now();
const engine = await openEngine({
  file: openGraphFile(spec.model),
  lora: paths.map((path) => ({ path, rank: 8, scale: 1 })),
  objective: "tokens",
  threads,
  mode: mode === "fast" ? "fast" : "lean",
  recompute: mode === "recompute",
  device,
});
const openedSeconds = (performance.now() - begun) / 1000;
const parameters = engine.parameters.map(({ name, shape: dims }) => ({
  name,
  shape: dims,
  data: Float32Array.from({ length: dims[0]! * dims[1]! }, () => rng.normal() * 0.02),
}));
const current = tensorSet(parameters.map(({ name, shape: dims, data }) => [name, float32(dims, data)]));
const accumulator = new Accumulator(parameters);
const optimizer = createOptimizer(trainingOptions.parse({ learning_rate: 1e-3 }), parameters);

const int64 = (value: (row: number, column: number) => number): Tensor =>
  tensor(
    "I64",
    [batch, length],
    BigInt64Array.from({ length: batch * length }, (_, i) =>
      BigInt(value(Math.floor(i / length), i % length)),
    ),
  );
const embeddings = Float32Array.from({ length: batch * length * shape.hidden }, () => rng.normal());
const inputs = tensorSet([
  ["inputs_embeds", float32([batch, length, shape.hidden], embeddings)],
  ["attention_mask", int64((row, column) => (column < lengths[row]! ? 1 : 0))],
]);
const labelled = (row: number, column: number): boolean => {
  const end = lengths[row]!;
  return column < end && column >= end - Math.min(labels, end - 1);
};
const targets = int64((row, column) => (labelled(row, column) ? rng.below(shape.vocabulary) : -100));
const rows = Array.from({ length: batch * length }, (_, i) => i).filter((i) =>
  labelled(Math.floor(i / length), (i % length) + 1),
);

async function step(): Promise<void> {
  // The trainer's own sum over micro-batches, here of one.
  const accumulated = accumulator.step([[]], current, () => "bench", undefined);
  accumulated.next();
  const { value } = accumulated.next(await engine.step({ inputs, labels: targets }, current));
  optimizer.step((value as StepGradients).gradients, 1e-3); // it ends after one
}

async function measured(work: () => Promise<unknown>): Promise<Sample> {
  const [wall, cpu] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(cpu);
  const rss = process.resourceUsage().maxRSS / 1024;
  return { wall: (performance.now() - wall) / 1000, cpu: (user + system) / 1e6, rss };
}

const say = (value: object): void => console.log(JSON.stringify(value));
say({ openedSeconds });
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "estimate") {
    const { peakBytes } = await engine.estimate({ inputs, labels: targets });
    say({ estimateMib: peakBytes / 2 ** 20 });
    continue;
  }
  say(await measured(line === "forward" ? () => engine.forward({ inputs }, current, rows) : step));
}
await engine.close();
