/** `fedloom model inspect DIR`: graphs, inputs, LoRA targets, and operators that cannot be differentiated. */

import type { Command } from "commander";
import { FedloomError } from "../../base/errors.ts";
import { writeTargets } from "../../training/onnx/edge/targets-file.ts";
import type { GraphFile, LinearModule } from "../../training/onnx/engine.ts";
import { estimateTraining } from "../../training/onnx/estimate-training.ts";
import type { Graph } from "../../training/onnx/graph.ts";
import { type PreparedGraph, prepareGraph } from "../../training/onnx/prepare.ts";
import { DataNeeded } from "../../training/onnx/specialize.ts";
import { supportOf } from "../../training/onnx/support.ts";
import { asTheModelHas } from "../../training/onnx/targets/packed.ts";
import { byteSize } from "../../training/onnx/weight.ts";
import type { Cli, CommonOptions } from "../cli.ts";
import { table } from "../table.ts";
import { bytes } from "../units.ts";
import { graphPath, type ModelGraphs, openGraphs } from "./graphs.ts";

interface InspectOptions extends CommonOptions {
  readonly graph?: string;
  readonly writeTargets?: boolean;
}

export function registerInspect(cli: Cli, parent: Command): void {
  cli
    .command("inspect <dir>", "Show a model directory's graphs, LoRA targets and operators.", parent)
    .option("--graph <file>", "the graph with the loss, where the layout does not tell")
    .option("--write-targets", "write fedloom.targets.json, to correct where targets lie")
    .action(async (directory: string, options: InspectOptions) => {
      const graphs = await openGraphs(directory, options.graph);
      const reports = [...graphs.encoders.map(({ file }) => file), graphs.embed, graphs.decoder]
        .filter((file) => file !== undefined)
        .map((file) => reportOf(graphs, file));
      const written = options.writeTargets
        ? writeTargets(directory, Object.fromEntries(reports.map(({ file, modules }) => [file, modules])))
        : undefined;
      const lines = [...reports.flatMap(linesOf), ...(written === undefined ? [] : [`wrote ${written}`])];
      cli.output(options).result("model-inspect/1", { graphs: reports }, lines);
    });
}

/** What the estimate of memory is made for, where the model's positions reach so far. */
const TRAINING = { batch: 1, length: 256, labels: 32, rank: 8 } as const;

function memoryOf(prepared: PreparedGraph, contextLength: number | undefined) {
  const length = Math.min(TRAINING.length, contextLength ?? Infinity);
  const shape = { ...TRAINING, length, labels: Math.min(TRAINING.labels, length - 1) };
  try {
    const estimate = estimateTraining(prepared, shape);
    return estimate && { ...shape, ...estimate };
  } catch (error) {
    // What the rest of the report says is worth having all the same.
    if (error instanceof FedloomError || error instanceof DataNeeded) return { unknown: error.message };
    throw error;
  }
}

type Report = ReturnType<typeof reportOf>;

function reportOf(graphs: ModelGraphs, file: GraphFile) {
  const mapping = graphs.mappingOf(file);
  const { addedNorms } = graphs;
  const prepared = prepareGraph({ file, addedNorms, ...(mapping && { mapping }) });
  const { graph, output, modules } = prepared;
  const isTrained = file === graphs.decoder && graphs.objective === "tokens" && modules.length > 0;
  const operators = histogram(graph);
  return {
    file: graphPath(graphs.directory, file),
    opset: graph.opsets.get("") ?? 1,
    inputs: graph.inputs,
    output,
    parameters: [...graph.weights.values()].reduce(
      (sum, w) => sum + w.shape.reduce((n, dim) => n * dim, 1),
      0,
    ),
    weightBytes: [...graph.weights.values()].reduce((sum, w) => sum + byteSize(w.type, w.shape), 0),
    operators,
    withoutRule: Object.keys(operators).filter((name) => supportOf(name) === undefined),
    /** Of a step with LoRA on all layers. */
    memory: isTrained ? memoryOf(prepared, graphs.contextLength) : undefined,
    modules: asTheModelHas(modules) satisfies readonly LinearModule[],
    /** Embeddings, norms and convolutions, which can be trained whole. */
    named: prepared.named.map(({ path }) => path),
  };
}

/** Operators by full name and how often each occurs, the commonest first. */
function histogram(graph: Graph): Record<string, number> {
  const counts = new Map<string, number>();
  for (const { op, domain } of graph.nodes) {
    const name = domain === "" ? op : `${domain}.${op}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return Object.fromEntries([...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1)));
}

function memoryLine(memory: NonNullable<Report["memory"]>): string {
  if ("unknown" in memory) return `what a step would hold is not known: ${memory.unknown}`;
  const { batch, length, labels, rank, peakBytes, activationBytes } = memory;
  return `a step of ${batch} x ${length} tokens, ${labels} labelled, LoRA of rank ${rank} on all layers: about ${bytes(peakBytes)}, of which ${bytes(activationBytes)} activations`;
}

/** "input_layernorm" of all layers is one name. */
const lastNames = (paths: readonly string[]): readonly string[] => [
  ...new Set(paths.map((path) => path.split(".").at(-1)!)),
];

function linesOf(report: Report): string[] {
  const { file, opset, inputs, output, parameters, weightBytes, operators } = report;
  const { withoutRule, memory, modules, named } = report;
  const shapes = inputs.map(({ name, type, shape }) => `${name} ${type} [${shape.join(", ")}]`);
  const targets = table(
    [
      { title: "target" },
      { title: "in", align: "right" },
      { title: "out", align: "right" },
      { title: "node" },
    ],
    modules.map((m) => [
      m.path,
      String(m.in),
      String(m.out),
      m.columns ? `${m.node} columns ${m.columns.join(" to ")}` : m.node,
    ]),
  );
  return [
    `${file}: operator set ${opset}, ${parameters.toLocaleString("en")} parameters, ${bytes(weightBytes)}`,
    ...shapes.map((shape) => `  takes ${shape}`),
    `  gives ${output}`,
    `  operators: ${Object.entries(operators)
      .map(([name, count]) => `${name} ${count}`)
      .join(", ")}`,
    withoutRule.length === 0
      ? "  every operator has a rule, a lowering or needs no gradient"
      : `  without a gradient rule: ${withoutRule.join(", ")}`,
    ...(memory === undefined ? [] : [`  ${memoryLine(memory)}`]),
    ...(named.length === 0
      ? []
      : [`  modulesToSave may name, beside the targets: ${lastNames(named).join(", ")}`]),
    ...(modules.length === 0 ? ["  no LoRA targets"] : targets.map((line) => `  ${line}`)),
    "",
  ];
}
