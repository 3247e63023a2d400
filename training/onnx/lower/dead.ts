/** Leaves out nodes that no wanted output depends on: cache outputs, sampled heads, the other branch. */
import type { Graph, GraphNode } from "../graph.ts";

export function withoutDeadNodes(graph: Graph, outputs: readonly string[]): Graph {
  const needed = new Set(outputs);
  const nodes: GraphNode[] = [];
  for (const node of graph.nodes.toReversed()) {
    if (!node.outputs.some((name) => needed.has(name))) continue;
    nodes.push(node);
    for (const name of readBy(node)) needed.add(name);
  }
  return {
    ...graph,
    nodes: nodes.reverse(),
    outputs,
    inputs: graph.inputs.filter((input) => needed.has(input.name)),
    weights: new Map([...graph.weights].filter(([name]) => needed.has(name))),
  };
}

/** Names that a node reads, those of its subgraphs included. */
function readBy(node: GraphNode): readonly string[] {
  const inner = Object.values(node.attributes).flatMap((attribute) =>
    attribute.kind === "graph" ? [...attribute.value.nodes.flatMap(readBy), ...attribute.value.outputs] : [],
  );
  return [...node.inputs, ...inner];
}
