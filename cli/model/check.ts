/**
 * `fedloom model check DIR`: runs the engine on a batch, writes loss, gradients and the adapter after N steps.
 * Without a batch it proves the gradients by central differences on random input.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { type Adapter, isTarget } from "../../adapters/adapter.ts";
import { readPeft, writePeft } from "../../adapters/peft.ts";
import { openSafetensors, PYTORCH_METADATA, writeSafetensors } from "../../adapters/safetensors.ts";
import { float32, tensorSet } from "../../adapters/tensor.ts";
import { FedloomError } from "../../base/errors.ts";
import { createRng, type Rng } from "../../base/rng.ts";
import { trainingOptions } from "../../config/training.ts";
import { loraSpecs, savedModules } from "../../training/lora-specs.ts";
import { type Composite, openComposite } from "../../training/onnx/composite.ts";
import type { Batch } from "../../training/onnx/engine.ts";
import { prepareGraph } from "../../training/onnx/prepare.ts";
import type { Device } from "../../training/onnx/runtime.ts";
import { createOptimizer } from "../../training/optimizers.ts";
import { type Cli, type CommonOptions, wholeNumber } from "../cli.ts";
import { centralDifference, randomBatch, randomFactors } from "./central-difference.ts";
import { encoderProofs } from "./encoder-proof.ts";
import { type ModelGraphs, openGraphs } from "./graphs.ts";

interface CheckOptions extends CommonOptions {
  readonly adapter?: string;
  readonly batch?: string;
  readonly graph?: string;
  readonly steps: number;
  readonly lr: number;
  readonly weightDecay: number;
  readonly out?: string;
  readonly gradInputs?: boolean;
  readonly seed: string;
  readonly device: Device;
  readonly threads?: number;
}

/** Rounding of float32 losses over the step, and what curvature the extrapolation leaves, stay below this share. */
const PROOF_LIMIT = 1e-3;

export function registerCheck(cli: Cli, parent: Command): void {
  cli
    .command(
      "check <dir>",
      "Run the training engine on a batch, or prove its gradients, encoders' too, on random input.",
      parent,
    )
    .option("--adapter <peft-dir>", "adapter to start from; a random one of rank 8 where absent")
    .option("--batch <file.safetensors>", "inputs of the graphs, and labels")
    .option("--graph <file>", "the graph with the loss, where the layout does not tell")
    .option("--steps <n>", "AdamW steps on that batch", wholeNumber(0), 0)
    .option("--lr <rate>", "learning rate", Number, 1e-3)
    .option("--weight-decay <rate>", "decoupled weight decay", Number, 0)
    .option("--out <dir>", "where grads.safetensors and the adapter are written")
    .option("--grad-inputs", "also the gradient of inputs_embeds")
    .option("--seed <seed>", "seed of everything random", "0")
    .option("--device <device>", "cpu, cuda or webgpu", "cpu")
    .option("--threads <n>", "threads of the runtime", wholeNumber(1))
    .action(async (directory: string, options: CheckOptions) => {
      const result = await check(await openGraphs(directory, options.graph), options);
      const errors = [result.proof, ...result.parts].map((proof) => proof?.error ?? 0);
      if (errors.some((error) => error > PROOF_LIMIT)) cli.exitCode = 8;
      cli.output(options).result("model-check/1", result, linesOf(result));
    });
}

async function check(graphs: ModelGraphs, options: CheckOptions) {
  const rng = createRng(options.seed).fork("model check");
  const adapter = options.adapter === undefined ? freshAdapter(graphs, rng) : readPeft(options.adapter);
  const inputGradients = options.gradInputs ? ["inputs_embeds"] : [];
  const model = await openComposite({
    ...graphs,
    encoders: graphs.encoders.map(({ file, tokenId }) => ({
      file,
      tokenId,
      mapping: graphs.mappingOf(file) ?? {},
    })),
    mapping: graphs.mappingOf(graphs.decoder) ?? {},
    lora: loraSpecs(adapter),
    saved: savedModules(adapter),
    inputGradients,
    device: options.device,
    ...(options.threads !== undefined && { threads: options.threads }),
  });
  try {
    if (options.batch === undefined) {
      const batch = await randomBatch(graphs, rng);
      const proof = await centralDifference(model, batch, adapter.tensors, rng);
      const { device, threads } = options;
      const runtime = { device, ...(threads !== undefined && { threads }) };
      const parts = options.adapter === undefined ? await encoderProofs(graphs, runtime, rng) : [];
      return { loss: proof.loss, losses: [proof.loss], steps: 0, proof, parts, absent: model.absent };
    }
    const trained = await train(model, readBatch(options.batch), adapter, options);
    return { ...trained, proof: undefined, parts: [], absent: model.absent };
  } finally {
    await model.close();
  }
}

async function train(model: Composite, batch: Batch, adapter: Adapter, options: CheckOptions) {
  const tensors = [...adapter.tensors].map(([name, { shape, data }]) => ({
    name,
    shape,
    data: Float32Array.from(data as ArrayLike<number>),
  }));
  const current = tensorSet(tensors.map(({ name, shape, data }) => [name, float32(shape, data)]));
  const settings = trainingOptions.parse({ learning_rate: options.lr, weight_decay: options.weightDecay });
  const optimizer = createOptimizer(settings, tensors);
  const losses: number[] = [];
  for (let step = 0; ; step++) {
    const { lossSum, labels, gradients, inputGradients } = await model.step(batch, current);
    losses.push(lossSum / labels);
    const means = [...gradients, ...inputGradients].map(
      ([name, { shape, data }]) =>
        [
          name,
          float32(
            shape,
            (data as Float32Array).map((v) => v / labels),
          ),
        ] as const,
    );
    if (step === 0 && options.out !== undefined) {
      mkdirSync(options.out, { recursive: true });
      writeFileSync(
        join(options.out, "grads.safetensors"),
        writeSafetensors(tensorSet(means), PYTORCH_METADATA),
      );
    }
    if (step === options.steps) break;
    optimizer.step(new Map(means.map(([name, { data }]) => [name, data as Float32Array])), options.lr);
  }
  if (options.out !== undefined) writePeft(join(options.out, "adapter"), { ...adapter, tensors: current });
  return { loss: losses[0]!, losses, steps: options.steps };
}

function readBatch(path: string): Batch {
  const file = openSafetensors(path);
  const tensors = new Map(file.names.map((name) => [name, file.read(name)]));
  file.close();
  const labels = tensors.get("labels");
  if (labels === undefined)
    throw new FedloomError(
      "F2114",
      `Cannot use batch "${path}": it must hold "labels", got ${[...tensors.keys()].join(", ")}`,
    );
  tensors.delete("labels");
  return { inputs: tensors, labels };
}

/** Rank 8 on every linear layer but the heads. */
function freshAdapter(graphs: ModelGraphs, rng: Rng): Adapter {
  const config: Adapter["config"] = {
    base: "",
    rank: 8,
    alpha: 16,
    rslora: false,
    dropout: 0,
    targets: "all-linear",
    rankPattern: {},
    alphaPattern: {},
    modulesToSave: ["lm_head", "classifier"],
  };
  const { modules } = prepareGraph({ file: graphs.decoder, mapping: graphs.mappingOf(graphs.decoder) ?? {} });
  const targets = modules.filter(({ path }) => isTarget(config, path));
  return { config: { ...config, modulesToSave: [] }, tensors: randomFactors(targets, 8, rng) };
}

function linesOf(result: Awaited<ReturnType<typeof check>>): string[] {
  const { losses, proof, parts, absent } = result;
  const outside = absent.length === 0 ? [] : [`not in the graphs: ${absent.join(", ")}`];
  if (proof !== undefined) {
    return [
      `loss ${proof.loss.toFixed(6)} on random input`,
      verdict(proof),
      ...parts.map(({ part, error, directions, reason }) => {
        if (error === undefined) return `${part} cannot be trained: ${reason}`;
        return `${part}: ${verdict({ error, directions: directions! })}`; // they come together
      }),
      ...outside,
    ];
  }
  return [...losses.map((loss, step) => `step ${step}: loss ${loss.toFixed(6)}`), ...outside];
}

function verdict({ error, directions }: { readonly error: number; readonly directions: number }): string {
  const agree = error <= PROOF_LIMIT ? "agree" : "do NOT agree";
  return `gradients ${agree} with central differences: relative error ${error.toExponential(1)} over ${directions} directions`;
}
