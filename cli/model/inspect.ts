/** `fedloom model inspect DIR`: graphs, inputs, LoRA targets, and operators that cannot be differentiated. */

import type { Command } from "commander";
import { writeTargets } from "../../training/onnx/edge/targets-file.ts";
import type { GraphFile, LinearModule } from "../../training/onnx/engine.ts";
import { estimateTraining } from "../../training/onnx/estimate-training.ts";
import type { Graph } from "../../training/onnx/graph.ts";
import { prepareGraph } from "../../training/onnx/prepare.ts";
import { supportOf } from "../../training/onnx/support.ts";
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
      const reports = [graphs.encoder, graphs.embed, graphs.decoder]
        .filter((file) => file !== undefined)
        .map((file) => reportOf(graphs, file));
      const written = options.writeTargets
        ? writeTargets(directory, Object.fromEntries(reports.map(({ file, modules }) => [file, modules])))
        : undefined;
      const lines = [...reports.flatMap(linesOf), ...(written === undefined ? [] : [`wrote ${written}`])];
      cli.output(options).result("model-inspect/1", { graphs: reports }, lines);
    });
}

/** What the estimate of memory is made for. */
const TRAINING = { batch: 1, length: 256, labels: 32, rank: 8 } as const;

type Report = ReturnType<typeof reportOf>;

function reportOf(graphs: ModelGraphs, file: GraphFile) {
  const mapping = graphs.mappingOf(file);
  const prepared = prepareGraph({ file, ...(mapping && { mapping }) });
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
    memory: isTrained ? estimateTraining(prepared, TRAINING) : undefined,
    modules: modules satisfies readonly LinearModule[],
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

function linesOf(report: Report): string[] {
  const { file, opset, inputs, output, parameters, weightBytes, operators, withoutRule, memory, modules } =
    report;
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
    ...(memory === undefined
      ? []
      : [
          `  a step of ${TRAINING.batch} x ${TRAINING.length} tokens, ${TRAINING.labels} labelled, LoRA of rank ${TRAINING.rank} on all layers: about ${bytes(memory.peakBytes)}, of which ${bytes(memory.activationBytes)} activations`,
        ]),
    ...(modules.length === 0 ? ["  no LoRA targets"] : targets.map((line) => `  ${line}`)),
    "",
  ];
}
