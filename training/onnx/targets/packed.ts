/**
 * Packed projections: one matrix whose output columns are those of q, k and v, or of gate and up. Where a Split takes them
 * apart, the model itself has the one matrix, and a PEFT adapter one pair for it; where a fused attention reads them as
 * they are, an optimizer joined what the model has apart.
 */
import type { LinearModule } from "../engine.ts";
import { type Graph, type GraphNode, intOf, intsOf } from "../graph.ts";
import { type Linear, moduleOf } from "./linear.ts";

const PACKED_NAME = /(^|\.)(qkv_proj|qkv|query_key_value|c_attn|Wqkv|in_proj|gate_up_proj)$/;

/** The modules that a linear layer holds: itself, or its parts with their columns. */
export function packedColumns(graph: Graph, linear: Linear, path: string): LinearModule[] {
  const reader = readerOf(graph, linear.node);
  const sizes = reader && columnSizes(graph, linear, reader);
  if (sizes === undefined || !PACKED_NAME.test(path)) return [moduleOf(linear, path)];
  const isWhole = reader!.op === "Split";
  const parent = path.replace(PACKED_NAME, "").replace(/\.$/, "");
  const names = sizes.length === 2 ? ["gate_proj", "up_proj"] : ["q_proj", "k_proj", "v_proj"];
  let at = 0;
  return sizes.map((size, i) => {
    const from = at;
    at += size;
    const part = moduleOf(linear, `${parent}.${names[i]}`, size, [from, at]);
    return { ...part, packed: path, ...(isWhole && { isWhole }) };
  });
}

/** The modules as the model has them: parts of a projection that it has in one matrix are that one. */
export function asTheModelHas(modules: readonly LinearModule[]): readonly LinearModule[] {
  return modules.flatMap((module): LinearModule[] => {
    if (!module.isWhole) return [module];
    const { packed, columns, isWhole: _isWhole, ...rest } = module;
    return columns![0] === 0 ? [{ ...rest, path: packed!, out: rest.nodeOut }] : [];
  });
}

/** Widths of the parts, from the attention that reads them or from the Split behind the product. */
function columnSizes(graph: Graph, { out }: Linear, reader: GraphNode): readonly number[] | undefined {
  if (reader.op === "QkvAttention") return intsOf(reader, "qkv_hidden_sizes") ?? [out / 3, out / 3, out / 3];
  if (reader.op === "GroupQueryAttention") {
    const [heads, kvHeads] = [intOf(reader, "num_heads", 0), intOf(reader, "kv_num_heads", 0)];
    const size = out / (heads + 2 * kvHeads);
    return [heads * size, kvHeads * size, kvHeads * size];
  }
  if (reader.op === "Split" && reader.outputs.length > 1) {
    const sizes = graph.weights.get(reader.inputs[1] ?? "");
    if (sizes === undefined) return reader.outputs.map(() => out / reader.outputs.length);
    return Array.from(new BigInt64Array(sizes.bytes().slice().buffer), Number);
  }
  return undefined;
}

const READERS = new Set(["GroupQueryAttention", "QkvAttention", "Split"]);

/** The attention or Split that reads the product, past a bias. */
function readerOf(graph: Graph, node: GraphNode): GraphNode | undefined {
  const readers = graph.nodes.filter((other) => other.inputs.includes(node.outputs[0]!));
  const special = readers.find(({ op }) => READERS.has(op));
  if (special !== undefined) return special;
  const bias = readers.find(({ op }) => op === "Add");
  return bias === undefined || readers.length !== 1 ? undefined : readerOf(graph, bias);
}
