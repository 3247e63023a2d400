/**
 * Elements of a tensor taken through a sequence, as PyTorch's newer exporter writes `unbind`: SplitToSequence and a
 * SequenceAt for each part become a Gather each. Other uses of sequences stay, and are refused by name.
 */
import { type Graph, type GraphNode, int, intOf } from "../graph.ts";
import { weightOf } from "../weight.ts";

export function withoutSequences(graph: Graph): Graph {
  const splits = new Map(
    graph.nodes.flatMap((node) =>
      // With sizes of its own a part need not be one element wide.
      node.op === "SplitToSequence" && !node.inputs[1] ? [[node.outputs[0]!, node] as const] : [],
    ),
  );
  if (splits.size === 0) return graph;
  const weights = new Map(graph.weights);
  const nodes = graph.nodes.flatMap((node): GraphNode[] => {
    const split = node.op === "SequenceAt" ? splits.get(node.inputs[0]!) : undefined;
    if (split === undefined) return [node];
    const axis = int(intOf(split, "axis", 0));
    const picked = {
      ...node,
      op: "Gather",
      inputs: [split.inputs[0]!, node.inputs[1]!],
      attributes: { axis },
    };
    if (intOf(split, "keepdims", 1) === 0) return [picked];
    const [axes, part] = [`${node.name}/axes`, `${node.outputs[0]}/part`];
    weights.set(axes, weightOf("I64", [1], BigInt64Array.of(BigInt(intOf(split, "axis", 0)))));
    const kept = { ...node, op: "Unsqueeze", inputs: [part, axes], attributes: {} };
    return [{ ...picked, name: `${node.name}/part`, outputs: [part] }, kept];
  });
  const read = new Set([...graph.outputs, ...nodes.flatMap(({ inputs }) => inputs)]);
  return { ...graph, weights, nodes: nodes.filter(({ outputs }) => outputs.some((name) => read.has(name))) };
}
