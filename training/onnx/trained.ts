/**
 * Makes weights of a graph parameters: whole modules as PEFT saves them, or initializers under their own name.
 */
import { sizeOf, type Tensor, tensor } from "../../adapters/tensor.ts";
import { FedloomError } from "../../base/errors.ts";
import type { LinearModule, ParameterSpec } from "./engine.ts";
import { type Graph, type GraphInput, type GraphNode, int, ints } from "./graph.ts";
import { numbersOf } from "./numbers.ts";
import { biasOf } from "./targets/linear.ts";
import type { NamedModule } from "./targets/named.ts";
import { picksByIds, placesName } from "./token-ids.ts";
import { ELEMENT_NUMBERS, type Weight, weightOf } from "./weight.ts";

export interface TrainedWeight {
  readonly parameter: ParameterSpec;
  /** The initializer that it replaces. */
  readonly weight: string;
  /** PyTorch keeps [out, in] where a product has [in, out]. */
  readonly turned: boolean;
  /** What the graph's weight is more than the parameter (targets/named.ts). */
  readonly offset?: number;
  /**
   * An embedding: only what picks rows reads the trained copy. A head that shares the table keeps the frozen one, as
   * PEFT's copy of the module leaves it.
   */
  readonly table?: boolean;
  /** The value that a table is read by, where it is not the weight itself. */
  readonly read?: string;
  /** Its rows are picked by token ids and by nothing else, so that a session needs those of a batch alone. */
  readonly byIds?: boolean;
}

/** @throws FedloomError F2113 where an initializer does not exist or cannot be trained */
export function trainedInitializers(graph: Graph, names: readonly string[]): readonly TrainedWeight[] {
  return names.map((name) => {
    const weight = graph.weights.get(name);
    if (weight?.type !== "F32" && weight?.type !== "F16")
      throw new FedloomError(
        "F2113",
        `Cannot train "${name}": it must be a floating-point initializer of the graph, got ${weight?.type ?? "none"}`,
        { initializer: name },
      );
    return { parameter: { name, shape: weight.shape }, weight: name, turned: false };
  });
}

/**
 * Weight and bias of a saved module: `base_model.model.<path>.weight` [out, in] and `.bias` [out].
 *
 * @param turnedLinears paths of layers whose weight is kept as [in, out]
 */
export function savedModule(
  graph: Graph,
  module: LinearModule,
  path: string,
  turnedLinears?: RegExp,
): readonly TrainedWeight[] {
  const node = graph.nodes.find(({ name }) => name === module.node)!;
  if (module.layout === "nbits" || module.columns !== undefined)
    throw new FedloomError(
      "F2113",
      `Cannot train module "${path}" whole: its weight must be a float matrix of its own, got ${module.columns ? "a packed one" : "a quantized one"}`,
      { module: path },
    );
  const isTurned = turnedLinears?.test(path) === true;
  const shape = isTurned ? [module.in, module.out] : [module.out, module.in];
  const weight: TrainedWeight = {
    parameter: { name: `base_model.model.${path}.weight`, shape },
    weight: module.weight,
    turned: module.layout === (isTurned ? "out_in" : "in_out"),
  };
  const bias = biasOf(graph, node);
  if (bias === undefined) return [weight];
  const parameter = { name: `base_model.model.${path}.bias`, shape: [module.out] };
  return [weight, { parameter, weight: bias, turned: false }];
}

/** Weight and bias of a module that is no linear layer, as they are. */
export function savedNamed(graph: Graph, module: NamedModule, path: string): readonly TrainedWeight[] {
  const picks = graph.nodes.filter(({ op, inputs }) => op === "Gather" && inputs[0] === module.read);
  const byIds = new Set(picksByIds(graph.nodes));
  const { table, turned, read } = module;
  const shapeOf = (weight: string): readonly number[] => {
    const { shape } = graph.weights.get(weight)!;
    return turned ? shape.toReversed() : shape;
  };
  const part = (kind: "weight" | "bias", weight: string): TrainedWeight => ({
    parameter: {
      name: `base_model.model.${path}.${kind}`,
      shape: shapeOf(weight),
      ...(table && { table: true }),
    },
    weight,
    turned,
    table,
    read,
    byIds: table && picks.every((node) => byIds.has(node)),
  });
  const weight = { ...part("weight", module.weight), offset: module.offset };
  return module.bias === undefined ? [weight] : [weight, part("bias", module.bias)];
}

/** The graph with the weights among its inputs; a node brings them to the layout and type it computes with. */
export function withTrained(graph: Graph, trained: readonly TrainedWeight[]): Graph {
  const weights = new Map(graph.weights);
  const inputs: GraphInput[] = [...graph.inputs];
  const nodes: GraphNode[] = [];
  const tables = new Map<string, Table>();
  for (const { parameter, weight, turned, table = false, read, byIds = false, offset = 0 } of trained) {
    const { type } = weights.get(weight)!;
    if (table) {
      inputs.push({ name: parameter.name, type: "F32", shape: parameter.shape });
      const places = byIds ? placesName(parameter.name) : undefined;
      if (places) inputs.push({ name: places, type: "I64", shape: [parameter.shape[0]!] });
      tables.set(read ?? weight, { name: parameter.name, places, type });
      continue;
    }
    weights.delete(weight);
    const asItIs = !turned && type === "F32" && offset === 0;
    inputs.push({ name: parameter.name, type: "F32", shape: parameter.shape });
    if (asItIs && parameter.name === weight) continue;
    let name = parameter.name;
    const op = (
      kind: string,
      output: string,
      attributes: GraphNode["attributes"],
      others: readonly string[] = [],
    ): void => {
      const inputs = [name, ...others];
      nodes.push({ op: kind, domain: "", name: output, inputs, outputs: [output], attributes });
      name = output;
    };
    const exact = (role: string): string => (type === "F32" ? weight : `${weight}/${role}`);
    if (turned) op("Transpose", exact("turned"), { perm: ints([1, 0]) });
    if (offset !== 0) {
      const more = `${weight}/offset`;
      weights.set(more, weightOf("F32", [], Float32Array.of(offset)));
      op("Add", exact("sum"), {}, [more]);
    }
    if (type !== "F32") op("Cast", weight, { to: int(ELEMENT_NUMBERS[type]) });
    if (asItIs) op("Identity", weight, {});
  }
  const picking = graph.nodes.flatMap((node) => fromTable(node, tables.get(node.inputs[0]!)));
  return { ...graph, weights, inputs, nodes: [...nodes, ...picking] };
}

interface Table {
  readonly name: string;
  /** What the graph goes on with. */
  readonly type: Weight["type"];
  /** Input with the places of tokens' rows, where the table is fed in part. */
  readonly places: string | undefined;
}

/** A Gather that picks from the trained table, in the type that the graph goes on with. */
function fromTable(node: GraphNode, table: Table | undefined): readonly GraphNode[] {
  if (table === undefined || node.op !== "Gather") return [node];
  const [output] = node.outputs as [string];
  const [value, ids] = node.inputs as [string, string];
  const { name, type, places } = table;
  if (places !== undefined) {
    const at = `${output}/places`;
    const plain = { op: "Gather", domain: "", attributes: {} };
    const found: GraphNode = { ...plain, name: at, inputs: [places, ids], outputs: [at] };
    return [found, ...fromTable({ ...node, inputs: [value, at] }, { name, type, places: undefined })];
  }
  const pick = { ...node, inputs: [name, ids] };
  if (type === "F32") return [pick];
  const exact = `${output}/exact`;
  const cast: GraphNode = {
    op: "Cast",
    domain: "",
    name: `${node.name}/Cast`,
    inputs: [exact],
    outputs: [output],
    attributes: { to: int(ELEMENT_NUMBERS[type]) },
  };
  return [{ ...pick, outputs: [exact] }, cast];
}

/** The values that the graph file has for a trained weight. */
export function initialValue(
  { weight, turned, parameter, offset = 0 }: TrainedWeight,
  source: Weight,
): Tensor {
  const numbers = numbersOf(source);
  if (numbers === undefined)
    throw new FedloomError("F2113", `Cannot train "${weight}": it must be float32, got ${source.type}`);
  const data = new Float32Array(sizeOf(source.shape));
  const [rows, columns] = source.shape as [number, number];
  for (let i = 0; i < data.length; i++)
    data[turned ? (i % columns) * rows + Math.floor(i / columns) : i] = numbers.data[i]! - offset;
  return tensor("F32", parameter.shape, data);
}
