/** A linear layer as the graph has it, before it is known which modules it holds. */
import type { LinearModule } from "../engine.ts";
import type { Graph, GraphNode } from "../graph.ts";

/** A product of an activation with a matrix of the model. */
export interface Linear {
  readonly node: GraphNode;
  readonly weightName: string;
  readonly in: number;
  readonly out: number;
  /** The name that node or weight carry, undefined where the exporter kept none. */
  readonly path: string | undefined;
  readonly layout: LinearModule["layout"];
}

export function moduleOf(
  linear: Linear,
  path: string,
  out = linear.out,
  columns?: readonly [number, number],
): LinearModule {
  const { in: width, out: nodeOut, node, weightName, layout } = linear;
  const base = { path, in: width, out, node: node.name, weight: weightName, layout, nodeOut };
  return columns === undefined ? base : { ...base, columns };
}

/** The weight that is added to a product: a Gemm's own, or that of the Add behind it. */
export function biasOf(graph: Graph, node: GraphNode): string | undefined {
  const name = node.op === "Gemm" ? node.inputs[2] : addedTo(graph, node.outputs[0]!);
  return name !== undefined && graph.weights.has(name) ? name : undefined;
}

function addedTo(graph: Graph, product: string): string | undefined {
  const readers = graph.nodes.filter(({ inputs }) => inputs.includes(product));
  if (readers.length !== 1 || readers[0]!.op !== "Add") return undefined;
  return readers[0]!.inputs.find((name) => name !== product);
}
