/**
 * Makes a program of a graph for given inputs: every node is made anew through the builder, which knows the
 * shapes, so that all that depends on shapes alone (masks, positions, sizes) is computed here and now.
 */
import { sizeOf } from "../../adapters/tensor.ts";
import { FedloomError } from "../../base/errors.ts";
import type { Builder } from "./builder.ts";
import { fused } from "./fuse.ts";
import { type Graph, type GraphNode, intOf } from "./graph.ts";
import { LOWERINGS } from "./lowerings/index.ts";
import { type Maths, maths } from "./maths.ts";
import { numbersOf } from "./numbers.ts";
import { ValueNeeded } from "./operators/operator.ts";
import type { Call, Value } from "./program.ts";
import { refuseOtherAttributes } from "./rules/attributes.ts";
import { type Weight, weightOf } from "./weight.ts";

/** Elements of a constant that is looked into; larger ones are a model's weights. */
const FEW = 8;

const LOWERING_OF = new Map(LOWERINGS.map((lowering) => [`${lowering.domain}::${lowering.op}`, lowering]));

/** Thrown where a shape depends on data: the value of this name must be computed from the batch first. */
export class DataNeeded extends Error {
  readonly valueName: string;
  readonly value: Value;

  constructor(valueName: string, value: Value) {
    super(`A shape depends on the value of "${valueName}"`);
    this.valueName = valueName;
    this.value = value;
  }
}

/**
 * @param given the graph's inputs by name, made by the caller: inputs of the program or constants
 * @param known values that were computed from the batch, by the name the graph has for them
 * @returns every value of the graph by name
 * @throws DataNeeded as it says; FedloomError F2111 for operators that cannot be placed
 */
export function specialize(
  graph: Graph,
  builder: Builder,
  given: ReadonlyMap<string, Value>,
  known: ReadonlyMap<string, Weight>,
): ReadonlyMap<string, Value> {
  const values = new Map(given);
  const g = maths(builder);
  // Exporters write an axis or a number anew for each layer; as one they let a mask of all layers be one.
  for (const [name, weight] of graph.weights)
    values.set(name, sizeOf(weight.shape) <= FEW ? builder.constant(weight) : builder.weight(name, weight));
  refuseOthers(graph);
  placeNodes(graph.nodes, values, known, g);
  return values;
}

/** Lowerings of versions or with attributes that they were not written for. */
function refuseOthers({ nodes, opsets }: Graph): void {
  for (const node of nodes.flatMap(withInner)) {
    const lowering = LOWERING_OF.get(`${node.domain}::${node.op}`);
    if (lowering === undefined) continue;
    const version = opsets.get(node.domain) ?? 1;
    const [oldest, newest] = lowering.opset;
    if (version < oldest || version > newest)
      throw new FedloomError(
        "F2111",
        `Cannot place ${node.op} of node "${node.name}": its operator set must be ${oldest} to ${newest}, got ${version}`,
        { operator: node.op, node: node.name },
      );
    refuseOtherAttributes(node, "place");
  }
}

/** A node and those of its subgraphs. */
function withInner(node: GraphNode): readonly GraphNode[] {
  const inner = Object.values(node.attributes).flatMap((attribute) =>
    attribute.kind === "graph" ? attribute.value.nodes.flatMap(withInner) : [],
  );
  return inner.length === 0 ? [node] : [node, ...inner];
}

function placeNodes(
  nodes: readonly GraphNode[],
  values: Map<string, Value>,
  known: ReadonlyMap<string, Weight>,
  g: Maths,
): void {
  for (const node of nodes) {
    const inputs = node.inputs.map((name) => (name === "" ? undefined : lookUp(name, node, values)));
    let results: readonly (Value | undefined)[];
    try {
      results = g.builder.at(node.name, () => place(node, inputs, values, known, g));
    } catch (error) {
      if (!(error instanceof ValueNeeded)) throw error;
      const name = [...values].find(([, value]) => value === error.value)?.[0];
      if (name === undefined) throw error;
      throw new DataNeeded(name, error.value);
    }
    node.outputs.forEach((name, i) => {
      const weight = known.get(name);
      const result = weight === undefined ? results[i] : g.builder.constant(weight);
      if (name !== "" && result !== undefined) values.set(name, result);
    });
  }
}

function lookUp(name: string, node: GraphNode, values: ReadonlyMap<string, Value>): Value {
  const value = values.get(name);
  if (value === undefined)
    throw new FedloomError(
      "F2110",
      `Cannot place ${node.op} "${node.name}": its input "${name}" does not exist`,
    );
  return value;
}

function place(
  node: GraphNode,
  inputs: readonly (Value | undefined)[],
  values: Map<string, Value>,
  known: ReadonlyMap<string, Weight>,
  g: Maths,
): readonly (Value | undefined)[] {
  const call: Call = { ...node, inputs, outputCount: node.outputs.length };
  if (node.op === "Constant") return [g.builder.constant(constantOf(node))];
  if (node.op === "If") return branch(node, inputs[0]!, values, known, g);
  const lowering = LOWERING_OF.get(`${node.domain}::${node.op}`);
  if (lowering !== undefined) return lowering.lower(call, g);
  const cheaper = fused(call, g);
  if (cheaper !== undefined) return [cheaper];
  return g.builder.emit(node.op, inputs, node.attributes, {
    domain: node.domain,
    name: node.name,
    outputs: node.outputs,
  });
}

/** An If whose condition follows from shapes: only the branch taken is placed. */
function branch(
  node: GraphNode,
  condition: Value,
  outer: Map<string, Value>,
  known: ReadonlyMap<string, Weight>,
  g: Maths,
): readonly (Value | undefined)[] {
  const holds = condition.weight && numbersOf(condition.weight)?.data[0];
  if (holds === undefined) throw new ValueNeeded(condition);
  const taken = node.attributes[holds ? "then_branch" : "else_branch"];
  if (taken?.kind !== "graph")
    throw new FedloomError("F2110", `Cannot read If "${node.name}": it has no branch`);
  const values = new Map(outer);
  for (const [name, weight] of taken.value.weights)
    values.set(name, g.builder.weight(`${node.name}/${name}`, weight));
  placeNodes(taken.value.nodes, values, known, g);
  return taken.value.outputs.map((name) => values.get(name));
}

function constantOf(node: GraphNode): Weight {
  const { value, value_float, value_int, value_ints, value_floats } = node.attributes;
  if (value?.kind === "tensor") return value.value;
  if (value_int !== undefined)
    return weightOf("I64", [], BigInt64Array.of(BigInt(intOf(node, "value_int", 0))));
  if (value_float?.kind === "float") return weightOf("F32", [], Float32Array.of(value_float.value));
  if (value_ints?.kind === "ints")
    return weightOf(
      "I64",
      [value_ints.value.length],
      BigInt64Array.from(value_ints.value, (v) => BigInt(v)),
    );
  if (value_floats?.kind === "floats")
    return weightOf("F32", [value_floats.value.length], Float32Array.from(value_floats.value));
  throw new FedloomError("F2111", `Cannot place Constant "${node.name}": its kind of value is not read`, {
    operator: "Constant",
    node: node.name,
  });
}
