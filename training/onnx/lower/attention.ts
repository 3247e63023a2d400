/**
 * Takes com.microsoft.Attention apart: the packed projection of q, k and v becomes a MatMul of its own, which
 * LoRA can stand beside, and the rest an operator of ours (lowerings/multi-head-attention.ts).
 */
import type { Graph, GraphNode } from "../graph.ts";

export function splitAttention(graph: Graph): Graph {
  return { ...graph, nodes: graph.nodes.flatMap(split) };
}

function split(node: GraphNode): readonly GraphNode[] {
  if (node.op !== "Attention" || node.domain !== "com.microsoft") return [node];
  const [x, weight, bias, mask, past, scores] = node.inputs;
  // The product keeps the node's name; its output's name tells the module path as an exporter would have it.
  const folder = node.outputs[0]!.replace(/\/[^/]*$/, "");
  const product = `${folder}/qkv/MatMul_output_0`;
  const projected = bias ? `${folder}/qkv/Add_output_0` : product;
  return [
    { op: "MatMul", domain: "", name: node.name, inputs: [x!, weight!], outputs: [product], attributes: {} },
    ...(bias
      ? [
          {
            op: "Add",
            domain: "",
            name: `${folder}/qkv/Add`,
            inputs: [product, bias],
            outputs: [projected],
            attributes: {},
          },
        ]
      : []),
    {
      op: "QkvAttention",
      domain: "fedloom",
      name: `${node.name}/attend`,
      inputs: [projected, mask ?? "", past ?? "", scores ?? ""],
      outputs: [node.outputs[0]!],
      attributes: node.attributes,
    },
  ];
}
