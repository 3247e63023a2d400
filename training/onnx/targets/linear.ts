/** A linear layer as the graph has it, before it is known which modules it holds. */
import type { LinearModule } from "../engine.ts";
import type { GraphNode } from "../graph.ts";

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
