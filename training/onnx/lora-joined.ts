/**
 * LoRA branches that begin at one value (q, k, v; gate and up) as one product: their A stand one under the other, and
 * each branch takes its own columns. x is read once instead of once a branch, and on the way back, where the
 * gradient of x is one product too, its sum is written once.
 *
 * Branches with dropout keep apart, because each module draws a mask of its own.
 */
import { type Graph, type GraphNode, int } from "./graph.ts";
import { type Weight, weightOf } from "./weight.ts";

interface Down {
  readonly node: GraphNode;
  /** Name and rank of A, which is an input of the graph. */
  readonly a: string;
  readonly rank: number;
  readonly turned: GraphNode;
  /** Branches of equal keys multiply the same rows. */
  readonly key: string;
}

export function joinBranches(graph: Graph): Graph {
  const producers = new Map(graph.nodes.flatMap((node) => node.outputs.map((name) => [name, node] as const)));
  const shapes = new Map(graph.inputs.map(({ name, shape }) => [name, shape]));
  const downs = graph.nodes.flatMap((node) => downOf(node, producers, shapes) ?? []);
  const weights = new Map(graph.weights);
  const replaced = new Map<GraphNode, readonly GraphNode[]>();
  for (const group of Map.groupBy(downs, ({ key }) => key).values()) {
    if (group.length < 2) continue;
    group.forEach(({ node }, i) => {
      replaced.set(node, i === 0 ? joined(group, weights) : []);
    });
  }
  return replaced.size === 0
    ? graph
    : { ...graph, nodes: graph.nodes.flatMap((node) => replaced.get(node) ?? [node]), weights };
}

/** A node x Aᵀ of a LoRA branch (lora.ts). */
function downOf(
  node: GraphNode,
  producers: ReadonlyMap<string, GraphNode>,
  shapes: ReadonlyMap<string, readonly (number | string)[]>,
): Down | undefined {
  if (node.op !== "MatMul" || !/^lora\/.*\/z$/.test(node.name)) return undefined;
  const turned = producers.get(node.inputs[1]!);
  const a = turned?.inputs[0] ?? "";
  const rank = shapes.get(a)?.at(-2);
  const rows = producers.get(node.inputs[0]!);
  const begin = rows?.op === "Reshape" ? producers.get(rows.inputs[0]!) : rows;
  if (turned === undefined || typeof rank !== "number" || begin?.op !== "LoraInput") return undefined;
  if (begin.attributes.keep !== undefined) return undefined;
  return { node, a, rank, turned, key: `${rows?.op} ${begin.inputs[0]}` };
}

function joined(group: readonly Down[], weights: Map<string, Weight>): GraphNode[] {
  const [first] = group as [Down];
  const root = `${first.node.name}/joined`;
  const { perm } = first.turned.attributes;
  const axis = (perm?.kind === "ints" ? perm.value.length : 2) - 2;
  const node = (
    op: string,
    output: string,
    inputs: string[],
    attributes: GraphNode["attributes"],
  ): GraphNode => ({
    op,
    domain: "",
    name: output,
    inputs,
    outputs: [output],
    attributes,
  });
  const ranks = `${root}/ranks`;
  const sizes = group.map(({ rank }) => BigInt(rank));
  weights.set(ranks, weightOf("I64", [sizes.length], BigInt64Array.from(sizes)));
  const all = `${root}/z`;
  return [
    node(
      "Concat",
      `${root}/A`,
      group.map(({ a }) => a),
      { axis: int(axis) },
    ),
    node("Transpose", `${root}/At`, [`${root}/A`], first.turned.attributes),
    node("MatMul", all, [first.node.inputs[0]!, `${root}/At`], {}),
    {
      ...node("Split", `${root}/parts`, [all, ranks], { axis: int(-1) }),
      outputs: group.map((down) => down.node.outputs[0]!),
    },
  ];
}
