/**
 * Puts LoRA beside the linear layers of a graph: y = x W + scale (x Aᵀ) Bᵀ, with A [rank, in] and
 * B [out, rank] as inputs of the graph.
 *
 * A packed projection (q, k, v in one matrix) takes the pairs of all its modules in one: their A stand one
 * under the other, and each B holds its own columns of ranks and its own rows of outputs.
 */
import type { LinearModule, LoraSpec } from "./engine.ts";
import { type Attributes, type Graph, type GraphInput, type GraphNode, int, ints, string } from "./graph.ts";
import { type Weight, weightOf } from "./weight.ts";

export interface LoraPair {
  readonly module: LinearModule;
  readonly spec: LoraSpec;
}

export const factorName = (path: string, factor: "A" | "B"): string =>
  `base_model.model.${path}.lora_${factor}.weight`;

/** The graph with the pairs' factors among its inputs. Pairs of one node must not share columns. */
export function withLora(graph: Graph, pairs: readonly LoraPair[]): Graph {
  const byNode = Map.groupBy(pairs, (pair) => pair.module.node);
  const inputs: GraphInput[] = [...graph.inputs];
  const weights = new Map(graph.weights);
  const nodes = graph.nodes.flatMap((node) => {
    const own = byNode.get(node.name);
    if (own === undefined) return [node];
    for (const { module, spec } of own) {
      inputs.push({ name: factorName(spec.path, "A"), type: "F32", shape: [spec.rank, module.in] });
      inputs.push({ name: factorName(spec.path, "B"), type: "F32", shape: [module.out, spec.rank] });
    }
    return besides(node, own, weights);
  });
  return { ...graph, nodes, inputs, weights };
}

function besides(node: GraphNode, pairs: readonly LoraPair[], weights: Map<string, Weight>): GraphNode[] {
  const made: GraphNode[] = [];
  const root = `lora/${node.name}`;
  const op = (name: string, kind: string, inputs: readonly string[], attributes: Attributes = {}): string => {
    const output = `${root}/${name}`;
    made.push({ op: kind, domain: "", name: output, inputs, outputs: [output], attributes });
    return output;
  };
  const constant = (name: string, weight: Weight): string => {
    weights.set(`${root}/${name}`, weight);
    return `${root}/${name}`;
  };
  const y = node.outputs[0]!;
  const x = node.inputs[0]!;
  const scales = new Set(pairs.map(({ spec }) => spec.scale));
  const single = pairs.length === 1 && pairs[0]!.module.columns === undefined;

  let a: string;
  let b: string;
  if (single) {
    const { path } = pairs[0]!.spec;
    a = factorName(path, "A");
    b = factorName(path, "B");
  } else {
    const ordered = pairs.toSorted((p, q) => (p.module.columns?.[0] ?? 0) - (q.module.columns?.[0] ?? 0));
    a = op(
      "A",
      "Concat",
      ordered.map(({ spec }) => factorName(spec.path, "A")),
      { axis: int(0) },
    );
    b = stackedB(ordered, op, constant);
  }
  const dropped = made.length; // dropout acts on the branch's input
  const branch = op("x", "LoraInput", [x]);
  made[dropped] = {
    ...made[dropped]!,
    domain: "fedloom",
    attributes: { module: string(pairs[0]!.spec.path) },
  };
  const z = op("z", "MatMul", [branch, op("At", "Transpose", [a], { perm: ints([1, 0]) })]);
  const ranks = pairs.reduce((sum, { spec }) => sum + spec.rank, 0);
  const scale =
    scales.size === 1
      ? weightOf("F32", [], Float32Array.from(scales))
      : weightOf(
          "F32",
          [ranks],
          Float32Array.from(pairs.flatMap(({ spec }) => new Array<number>(spec.rank).fill(spec.scale))),
        );
  const scaled = op("scaled", "Mul", [z, constant("scale", scale)]);
  const delta = op("delta", "MatMul", [scaled, op("Bt", "Transpose", [b], { perm: ints([1, 0]) })]);
  const base = `${y}/base`;
  return [
    { ...node, outputs: [base, ...node.outputs.slice(1)] },
    ...made,
    {
      op: "LoraOutput",
      domain: "fedloom",
      name: `${root}/sum`,
      inputs: [base, delta],
      outputs: [y],
      attributes: {},
    },
  ];
}

/** Each B padded with zeros to all outputs and all ranks, and summed. */
function stackedB(
  pairs: readonly LoraPair[],
  op: (name: string, kind: string, inputs: readonly string[], attributes?: Attributes) => string,
  constant: (name: string, weight: Weight) => string,
): string {
  const ranks = pairs.reduce((sum, { spec }) => sum + spec.rank, 0);
  const total = pairs[0]!.module.nodeOut;
  let rank = 0;
  const padded = pairs.map(({ module, spec }, i) => {
    const [from, to] = module.columns ?? [0, module.out];
    const pads = [from, rank, total - to, ranks - rank - spec.rank];
    rank += spec.rank;
    const list = constant(
      `pads${i}`,
      weightOf(
        "I64",
        [4],
        BigInt64Array.from(pads, (p) => BigInt(p)),
      ),
    );
    return op(`B${i}`, "Pad", [factorName(spec.path, "B"), list]);
  });
  return padded.reduce((sum, next, i) => op(`B${i}sum`, "Add", [sum, next]));
}
