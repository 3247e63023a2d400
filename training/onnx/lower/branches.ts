/**
 * Takes the branch of each `If` whose condition is known: older exports merge a decoder with a cache and one
 * without into one If on the input `use_cache_branch`, and training always takes the one without.
 */
import type { Graph, GraphNode } from "../graph.ts";
import { valuesOf, type Weight } from "../weight.ts";

/** @param fixed inputs that always have one value, by name; they stop being inputs */
export function resolveBranches(graph: Graph, fixed: ReadonlyMap<string, Weight>): Graph {
  const weights = new Map([...graph.weights, ...fixed]);
  const nodes = graph.nodes.flatMap((node) => resolved(node, weights));
  return { ...graph, nodes, weights, inputs: graph.inputs.filter((input) => !fixed.has(input.name)) };
}

/** Weights of the branch are added to `weights`. */
function resolved(node: GraphNode, weights: Map<string, Weight>): readonly GraphNode[] {
  if (node.op === "Constant" && node.domain === "" && node.attributes.value?.kind === "tensor") {
    weights.set(node.outputs[0]!, node.attributes.value.value);
    return [];
  }
  const condition = node.op === "If" ? weights.get(node.inputs[0]!) : undefined;
  if (condition === undefined) return [node];
  const branch = node.attributes[valuesOf(condition)[0] ? "then_branch" : "else_branch"];
  if (branch?.kind !== "graph") return [node];
  return branchNodes(node, branch.value, weights);
}

/** The nodes of a branch under names of their own, its results under the names of the If. */
function branchNodes(node: GraphNode, branch: Graph, weights: Map<string, Weight>): readonly GraphNode[] {
  const names = new Map<string, string>();
  const own = (name: string): string => `${node.name}/${name}`;
  for (const [name, weight] of branch.weights) {
    names.set(name, own(name));
    weights.set(own(name), weight);
  }
  const produced = new Set(branch.nodes.flatMap((inner) => inner.outputs));
  for (const name of produced) if (name !== "") names.set(name, own(name));
  const passed: GraphNode[] = [];
  branch.outputs.forEach((name, i) => {
    const target = node.outputs[i];
    if (!target) return;
    if (produced.has(name) && names.get(name) === own(name)) names.set(name, target);
    else passed.push({ ...IDENTITY, name: target, inputs: [names.get(name) ?? name], outputs: [target] });
  });
  // What is neither made nor held by the branch comes from outside under its own name.
  const rename = (name: string): string => names.get(name) ?? name;
  const inside = branch.nodes.map((inner) => ({
    ...inner,
    inputs: inner.inputs.map(rename),
    outputs: inner.outputs.map(rename),
  }));
  return [...inside, ...passed].flatMap((inner) => resolved(inner, weights));
}

const IDENTITY = { op: "Identity", domain: "", attributes: {} } as const;
