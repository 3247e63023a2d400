/** Replaces each call of a model's own function by the function's body. */
import type { Attribute, Attributes, Graph, GraphNode } from "../graph.ts";
import { functionKey, type GraphFunction, type LoadedModel } from "../load.ts";

export function inlineFunctions({ graph, functions }: LoadedModel): Graph {
  if (functions.size === 0) return graph;
  return { ...graph, nodes: graph.nodes.flatMap((node) => inlined(node, functions)) };
}

function inlined(node: GraphNode, functions: ReadonlyMap<string, GraphFunction>): readonly GraphNode[] {
  const body = functions.get(functionKey(node.domain, node.op));
  if (body === undefined) return [node];
  const names = new Map<string, string>([["", ""]]);
  body.inputs.forEach((name, i) => {
    names.set(name, node.inputs[i] ?? "");
  });
  body.outputs.forEach((name, i) => {
    names.set(name, node.outputs[i] || `${node.name}/${name}`);
  });
  const rename = (name: string): string => names.get(name) ?? `${node.name}/${name}`;
  return body.nodes
    .map((inner) => ({
      ...inner,
      name: `${node.name}/${inner.name}`,
      inputs: inner.inputs.map(rename),
      outputs: inner.outputs.map(rename),
      attributes: bound(inner.attributes, { ...body.defaults, ...node.attributes }),
    }))
    .flatMap((inner) => inlined(inner, functions));
}

/** References replaced by the caller's attributes; one that the caller does not give is left out. */
function bound(attributes: Attributes, given: Attributes): Attributes {
  const entries = Object.entries(attributes).flatMap(([name, attribute]): [string, Attribute][] => {
    if (attribute.kind !== "reference") return [[name, attribute]];
    const value = given[attribute.value];
    return value === undefined ? [] : [[name, value]];
  });
  return Object.fromEntries(entries);
}
