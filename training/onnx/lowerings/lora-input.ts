/**
 * Where the LoRA branch of a module begins: its input, or, where `keep` is stated, its input under a dropout mask.
 *
 *   x ∘ M / keep        M an input of 0 and 1, one element for each of x, 1 with probability keep
 *
 * The masks come from outside (edge/masks.ts), so that a seed decides them and not the runtime's own generator. The
 * modules of a packed projection have one input, so they share a mask where PEFT draws one for each.
 */
import type { Graph } from "../graph.ts";
import type { Lowering } from "./lowering.ts";

/** Inputs whose name begins so are masks; the rest of the name is the module's. */
export const MASK = "fedloom.mask/";

export const loraInput: Lowering = {
  op: "LoraInput",
  domain: "fedloom",
  opset: [1, 1],
  lower(call, g) {
    // Factors are float32 whatever the graph computes in.
    const x = g.cast(call.inputs[0]!, "F32");
    const keep = call.attributes.keep;
    if (keep?.kind !== "float") return [x];
    const module = call.attributes.module;
    const name = `${MASK}${module?.kind === "string" ? module.value : call.name}`;
    const mask = g.cast(g.builder.input(name, "U8", x.shape), x.type);
    return [g.mul(x, g.mul(mask, 1 / keep.value))];
  },
};

/** What the branch adds, in the type of what it is added to. */
export const loraOutput: Lowering = {
  op: "LoraOutput",
  domain: "fedloom",
  opset: [1, 1],
  lower(call, g) {
    const [base, delta] = call.inputs;
    return [g.add(base!, g.cast(delta!, base!.type))];
  },
};

/** The graph with dropout on every LoRA branch. @param keep probability that an element stays */
export function withMasks(graph: Graph, keep: number): Graph {
  return {
    ...graph,
    nodes: graph.nodes.map((node) =>
      node.op === loraInput.op && node.domain === loraInput.domain
        ? { ...node, attributes: { ...node.attributes, keep: { kind: "float", value: keep } } }
        : node,
    ),
  };
}
