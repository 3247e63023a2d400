/**
 * Module paths from the structure alone, for exporters that name neither nodes nor weights.
 *
 * Each attention tells its layer: q and k are the linear layers behind the two operands of the scores, v the
 * one behind the second operand of the weighted sum, o the first one after it. Up to the next attention
 * follow the layers of the block's perceptron: two that read the same and whose product a third reads are
 * gate, up and down; two in a row are fc1 and fc2. Whatever fits none of this stays without a path.
 */
import type { Graph, GraphNode } from "../graph.ts";
import type { Linear } from "./linear.ts";
import { readsOf } from "./reads.ts";

const ACTIVATIONS = new Set(
  "Sigmoid Gelu FastGelu QuickGelu Erf Tanh Relu Elu Softplus HardSwish Mish Swish".split(" "),
);
/** Operators between a product, the Softmax and the next product. */
const PASSING = new Set(
  "Add Mul Div Sub Where Cast Dropout Identity Reshape Transpose Tanh Min Max".split(" "),
);

interface Attention {
  /** Names of the values that q, k and v are read from, and of the result. */
  readonly q: string;
  readonly k: string;
  readonly v: string;
  readonly result: string;
}

/** @param linears those without a path of their own, in the order of the graph */
export function structuralPaths(graph: Graph, linears: readonly Linear[]): ReadonlyMap<GraphNode, string> {
  const walk = new Walk(graph, linears);
  const isEncoder = !["tokens", "everything"].includes(readsOf(graph.inputs));
  const root = isEncoder ? "encoder.layers" : "model.layers";
  const paths = new Map<GraphNode, string>();
  const attentions = graph.nodes.flatMap((node) => attentionAt(node, walk) ?? []);
  const all = attentions.map(({ q, k, v, result }) => ({
    q: walk.linearBehind(q),
    k: walk.linearBehind(k),
    v: walk.linearBehind(v),
    o: walk.linearAfter(result),
  }));
  // A block that attends to pictures or windows one by one has several attentions behind the same layers.
  const found = all.filter((one, i) => i === 0 || one.q !== all[i - 1]!.q || one.k !== all[i - 1]!.k);
  found.forEach(({ q, k, v, o }, layer) => {
    if (!q || !k || !v || !o) return;
    const out = `${root}.${layer}.self_attn.${isEncoder ? "out_proj" : "o_proj"}`;
    if (new Set([q, k, v]).size === 1 && o !== q) {
      paths.set(q.node, `${root}.${layer}.self_attn.qkv_proj`);
      paths.set(o.node, out);
    }
    if (new Set([q, k, v, o]).size < 4) return;
    for (const [role, linear] of Object.entries({ q, k, v }))
      paths.set(linear.node, `${root}.${layer}.self_attn.${role}_proj`);
    paths.set(o.node, out);
  });
  found.forEach(({ o }, layer) => {
    if (!o) return;
    const next = found[layer + 1];
    const end = next?.q
      ? Math.min(...[next.q, next.k, next.v].map((l) => (l ? walk.orderOf(l.node) : Infinity)))
      : Infinity;
    const inside = linears.filter(
      ({ node }) => walk.orderOf(node) > walk.orderOf(o.node) && walk.orderOf(node) < end && !paths.has(node),
    );
    for (const [role, linear] of perceptron(inside, walk))
      paths.set(linear.node, `${root}.${layer}.mlp.${role}`);
  });
  nameLeftOver(linears, paths, walk, isEncoder);
  return paths;
}

/** Stands before the paths of linear layers behind the last block: a connector, a pooler, a head. */
export const LEFT_OVER = "behind_blocks.";

function nameLeftOver(
  linears: readonly Linear[],
  paths: Map<GraphNode, string>,
  walk: Walk,
  isEncoder: boolean,
): void {
  const last = Math.max(-1, ...[...paths.keys()].map((node) => walk.orderOf(node)));
  const left = linears.filter(({ node }) => walk.orderOf(node) > last);
  left.forEach(({ node }, i) => {
    const isHead = !isEncoder && i === left.length - 1;
    paths.set(node, `${LEFT_OVER}${isHead ? "head" : `linear_${i + 1}`}`);
  });
}

/** The roles of the first layers of a block's rest; of the last block what follows belongs to nobody. */
function perceptron(linears: readonly Linear[], walk: Walk): [string, Linear][] {
  const [a, b, c] = linears;
  if (a === undefined || b === undefined) return [];
  if (a.node.inputs[0] === b.node.inputs[0]) {
    if (c === undefined) return [];
    const [gate, up] = walk.meetsActivation(a, b) ? [a, b] : [b, a];
    return [
      ["gate_proj", gate],
      ["up_proj", up],
      ["down_proj", c],
    ];
  }
  // One matrix for gate and up is twice as wide as what down reads.
  const [first, second] = a.out === 2 * b.in ? ["gate_up_proj", "down_proj"] : ["fc1", "fc2"];
  return [
    [first!, a],
    [second!, b],
  ];
}

function attentionAt(node: GraphNode, walk: Walk): Attention | undefined {
  const [result] = node.outputs;
  if (["Attention", "MultiHeadAttention", "GroupQueryAttention"].includes(node.op) && node.inputs[2])
    return { q: node.inputs[0]!, k: node.inputs[1]!, v: node.inputs[2], result: result! };
  if (node.op !== "Softmax") return undefined;
  const scores = walk.productBefore(node.inputs[0]!);
  const context = walk.productAfter(result!);
  if (scores === undefined || context === undefined) return undefined;
  const v = context.inputs.find((name) => name !== walk.lastOnWay(result!, context));
  return { q: scores.inputs[0]!, k: scores.inputs[1]!, v: v!, result: context.outputs[0]! };
}

/** Ways through a graph, up and down. */
class Walk {
  readonly #producers: ReadonlyMap<string, GraphNode>;
  readonly #readers: ReadonlyMap<string, readonly GraphNode[]>;
  readonly #order: ReadonlyMap<GraphNode, number>;
  readonly #linears: ReadonlyMap<GraphNode, Linear>;

  constructor(graph: Graph, linears: readonly Linear[]) {
    this.#producers = new Map(graph.nodes.flatMap((node) => node.outputs.map((name) => [name, node])));
    const readers = new Map<string, GraphNode[]>();
    for (const node of graph.nodes)
      for (const name of node.inputs) readers.set(name, [...(readers.get(name) ?? []), node]);
    this.#readers = readers;
    this.#order = new Map(graph.nodes.map((node, i) => [node, i]));
    this.#linears = new Map(linears.map((linear) => [linear.node, linear]));
  }

  orderOf(node: GraphNode): number {
    return this.#order.get(node)!;
  }

  /** The only linear layer that a value comes from without another one between; undefined where there are several. */
  linearBehind(name: string): Linear | undefined {
    const found = new Set<Linear>();
    const seen = new Set<string>();
    const open = [name];
    while (open.length > 0) {
      const next = open.pop()!;
      if (seen.has(next)) continue;
      seen.add(next);
      const producer = this.#producers.get(next);
      const linear = producer && this.#linears.get(producer);
      if (linear) found.add(linear);
      else if (producer && producer.op !== "Softmax")
        open.push(...producer.inputs.filter((input) => input !== ""));
    }
    // Masks and positions may come from elsewhere; what is latest in the graph belongs to this layer.
    return [...found].sort((a, b) => this.orderOf(b.node) - this.orderOf(a.node))[0];
  }

  /** The first linear layer that reads a value. */
  linearAfter(name: string): Linear | undefined {
    let best: Linear | undefined;
    const open = [name];
    const seen = new Set<string>();
    while (open.length > 0) {
      const next = open.pop()!;
      if (seen.has(next)) continue;
      seen.add(next);
      for (const reader of this.#readers.get(next) ?? []) {
        const linear = this.#linears.get(reader);
        if (linear === undefined) {
          if (best === undefined || this.orderOf(reader) < this.orderOf(best.node))
            open.push(...reader.outputs);
        } else if (best === undefined || this.orderOf(reader) < this.orderOf(best.node)) best = linear;
      }
    }
    return best;
  }

  productBefore(name: string): GraphNode | undefined {
    const producer = this.#producers.get(name);
    if (producer === undefined) return undefined;
    if (producer.op === "MatMul" || producer.op === "FusedMatMul")
      return this.#linears.has(producer) ? undefined : producer;
    if (!PASSING.has(producer.op)) return undefined;
    for (const input of producer.inputs) {
      const product = this.productBefore(input);
      if (product !== undefined) return product;
    }
    return undefined;
  }

  productAfter(name: string): GraphNode | undefined {
    for (const reader of this.#readers.get(name) ?? []) {
      if (reader.op === "MatMul" || reader.op === "FusedMatMul") return reader;
      const product = PASSING.has(reader.op) ? this.productAfter(reader.outputs[0]!) : undefined;
      if (product !== undefined) return product;
    }
    return undefined;
  }

  /** The operand of `product` that comes from `name`. */
  lastOnWay(name: string, product: GraphNode): string | undefined {
    if (product.inputs.includes(name)) return name;
    for (const reader of this.#readers.get(name) ?? []) {
      if (!PASSING.has(reader.op)) continue;
      const last = this.lastOnWay(reader.outputs[0]!, product);
      if (last !== undefined) return last;
    }
    return undefined;
  }

  /** Whether an activation lies between a layer and where it meets what comes from `other`. */
  meetsActivation(from: Linear, other: Linear): boolean {
    const others = this.#reachable(other, new Set());
    for (const name of this.#reachable(from, others))
      for (const reader of this.#readers.get(name) ?? []) if (ACTIVATIONS.has(reader.op)) return true;
    return false;
  }

  /** Values that follow from a layer, up to the next layers and to nodes that also read values of `border`. */
  #reachable(from: Linear, border: ReadonlySet<string>): ReadonlySet<string> {
    const seen = new Set<string>();
    const open = [...from.node.outputs];
    while (open.length > 0) {
      const next = open.pop()!;
      if (seen.has(next)) continue;
      seen.add(next);
      for (const reader of this.#readers.get(next) ?? [])
        if (!this.#linears.has(reader) && !reader.inputs.some((input) => border.has(input)))
          open.push(...reader.outputs);
    }
    return seen;
  }
}
