/**
 * Puts LoRA beside the linear layers of a graph: y = x W + scale (x Aᵀ) Bᵀ, with A [rank, in] and
 * B [out, rank] as inputs of the graph.
 *
 * A packed projection (q, k, v in one matrix) takes the pairs of all its modules in one: their A stand one
 * under the other, and each B holds its own columns of ranks and its own rows of outputs.
 *
 * With factors of k clients, A is [k, rank, in] and B [k, out, rank]: the rows of x are k equal blocks one under the
 * other, each multiplied with its own client's factors, while the layer itself sees them as one batch.
 */
import type { LinearModule, LoraSpec } from "./engine.ts";
import { type Attributes, type Graph, type GraphInput, type GraphNode, int, ints, string } from "./graph.ts";
import { type Weight, weightOf } from "./weight.ts";

export interface LoraPair {
  readonly module: LinearModule;
  readonly spec: LoraSpec;
  /** Which call of the layer it is, where a model calls one several times; the first is 0. */
  readonly call: number;
}

/** Name of the dropout mask of a branch. */
export const branchName = ({ spec, call }: LoraPair): string =>
  call === 0 ? spec.path : `${spec.path}#${call}`;

export const factorName = (path: string, factor: "A" | "B"): string =>
  `base_model.model.${path}.lora_${factor}.weight`;

/**
 * The graph with the pairs' factors among its inputs. Pairs of one node must not share columns.
 *
 * @param clients whose factors the inputs hold; with one, they have no axis for it
 */
export function withLora(graph: Graph, pairs: readonly LoraPair[], clients = 1): Graph {
  const leading = clients === 1 ? [] : [clients];
  const byNode = Map.groupBy(pairs, (pair) => pair.module.node);
  const inputs: GraphInput[] = [...graph.inputs];
  const weights = new Map(graph.weights);
  const nodes = graph.nodes.flatMap((node) => {
    const own = byNode.get(node.name);
    if (own === undefined) return [node];
    for (const { module, spec, call } of own) {
      if (call > 0) continue;
      inputs.push({
        name: factorName(spec.path, "A"),
        type: "F32",
        shape: [...leading, spec.rank, module.in],
      });
      inputs.push({
        name: factorName(spec.path, "B"),
        type: "F32",
        shape: [...leading, module.out, spec.rank],
      });
    }
    return besides(node, own, weights, clients);
  });
  return { ...graph, nodes, inputs, weights };
}

function besides(
  node: GraphNode,
  pairs: readonly LoraPair[],
  weights: Map<string, Weight>,
  clients: number,
): GraphNode[] {
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
  const together = clients > 1;
  const turned = together ? [0, 2, 1] : [1, 0];
  const y = node.outputs[0]!;
  const x = node.inputs[0]!;
  const ordered = pairs.toSorted((p, q) => (p.module.columns?.[0] ?? 0) - (q.module.columns?.[0] ?? 0));
  const scales = new Set(pairs.map(({ spec }) => spec.scale));
  const single = pairs.length === 1 && pairs[0]!.module.columns === undefined;

  let a: string;
  let b: string;
  if (single) {
    const { path } = pairs[0]!.spec;
    a = factorName(path, "A");
    b = factorName(path, "B");
  } else {
    a = op(
      "A",
      "Concat",
      ordered.map(({ spec }) => factorName(spec.path, "A")),
      { axis: int(together ? 1 : 0) },
    );
    b = stackedB(ordered, together, op, constant);
  }
  const dropped = made.length; // dropout acts on the branch's input
  const branch = op("x", "LoraInput", [x]);
  made[dropped] = {
    ...made[dropped]!,
    domain: "fedloom",
    attributes: { module: string(branchName(pairs[0]!)) },
  };
  const blocks = [BigInt(clients), -1n, BigInt(pairs[0]!.module.in)];
  const rows = together
    ? op("rows", "Reshape", [branch, constant("blocks", weightOf("I64", [3], BigInt64Array.from(blocks)))])
    : branch;
  const z = op("z", "MatMul", [rows, op("At", "Transpose", [a], { perm: ints(turned) })]);
  const ranks = pairs.reduce((sum, { spec }) => sum + spec.rank, 0);
  const scale =
    scales.size === 1
      ? weightOf("F32", [], Float32Array.from(scales))
      : weightOf(
          "F32",
          [ranks],
          Float32Array.from(ordered.flatMap(({ spec }) => new Array<number>(spec.rank).fill(spec.scale))),
        );
  const scaled = op("scaled", "Mul", [z, constant("scale", scale)]);
  const base = `${y}/base`;
  const product = op("delta", "MatMul", [scaled, op("Bt", "Transpose", [b], { perm: ints(turned) })]);
  const delta = together ? op("whole", "Reshape", [product, op("shape", "Shape", [base])]) : product;
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
  together: boolean,
  op: (name: string, kind: string, inputs: readonly string[], attributes?: Attributes) => string,
  constant: (name: string, weight: Weight) => string,
): string {
  const ranks = pairs.reduce((sum, { spec }) => sum + spec.rank, 0);
  const total = pairs[0]!.module.nodeOut;
  let rank = 0;
  const padded = pairs.map(({ module, spec }, i) => {
    const [from, to] = module.columns ?? [0, module.out];
    const first = together ? [0] : [];
    const pads = [...first, from, rank, ...first, total - to, ranks - rank - spec.rank];
    rank += spec.rank;
    const list = constant(
      `pads${i}`,
      weightOf(
        "I64",
        [pads.length],
        BigInt64Array.from(pads, (p) => BigInt(p)),
      ),
    );
    return op(`B${i}`, "Pad", [factorName(spec.path, "B"), list]);
  });
  return padded.reduce((sum, next, i) => op(`B${i}sum`, "Add", [sum, next]));
}
