/**
 * Brings nodes of operator sets 9 to 17 to the form of 18, where what used to be attributes (axes, pads,
 * bounds, sizes) are inputs. Shape inference and rules then know one form only.
 *
 * Source: the "Changes" pages of https://onnx.ai/onnx/operators/
 */
import { FedloomError } from "../../../base/errors.ts";
import {
  type Attributes,
  floatOf,
  type Graph,
  type GraphNode,
  int,
  intOf,
  intsOf,
  string,
  stringOf,
} from "../graph.ts";
import { SOFTMAX_FROM } from "../lowerings/softmax-from.ts";
import { type Weight, weightOf } from "../weight.ts";

const OLDEST = 9;

/** @throws FedloomError F2111 for operator sets that are too old or too new */
export function upgrade(graph: Graph, newest: number): Graph {
  const version = graph.opsets.get("") ?? 1;
  if (version < OLDEST || version > newest)
    throw new FedloomError(
      "F2111",
      `Cannot use the graph: its operator set must be ${OLDEST} to ${newest}, got ${version}`,
      { opset: version },
    );
  if (version >= 18) return { ...graph, nodes: graph.nodes.map((node) => withNewModes(node, version)) };
  const weights = new Map(graph.weights);
  const nodes = graph.nodes.map((node) => withNewModes(upgraded(node, version, weights), version));
  return { ...graph, nodes, weights };
}

/** What 20 calls GridSample's modes: graphs are handed to the runtime as one of a newer set. */
const NEW_MODES: Readonly<Record<string, string>> = { bilinear: "linear", bicubic: "cubic" };

function withNewModes(node: GraphNode, version: number): GraphNode {
  if (node.op !== "GridSample" || node.domain !== "" || version >= 20) return node;
  const mode = stringOf(node, "mode", "bilinear");
  return { ...node, attributes: { ...node.attributes, mode: string(NEW_MODES[mode] ?? mode) } };
}

/** Attributes that became inputs: operator, attribute, position of the input, version that changed it. */
const AXES: Readonly<Record<string, number>> = {
  Squeeze: 13,
  Unsqueeze: 13,
  ReduceSum: 13,
  ReduceMean: 18,
  ReduceMax: 18,
  ReduceMin: 18,
  ReduceProd: 18,
  ReduceL1: 18,
  ReduceL2: 18,
  ReduceLogSum: 18,
  ReduceLogSumExp: 18,
  ReduceSumSquare: 18,
};

function upgraded(node: GraphNode, version: number, weights: Map<string, Weight>): GraphNode {
  if (node.domain !== "") return node;
  const constant = (role: string, weight: Weight): string => {
    const name = `${node.outputs[0]}/${role}`;
    weights.set(name, weight);
    return name;
  };
  const list = (role: string, values: readonly number[]): string =>
    constant(
      role,
      weightOf(
        "I64",
        [values.length],
        BigInt64Array.from(values, (v) => BigInt(v)),
      ),
    );
  const number = (role: string, value: number): string =>
    constant(role, weightOf("F32", [], Float32Array.of(value)));
  const moved = (names: readonly string[], extra: readonly string[]): GraphNode => ({
    ...node,
    inputs: [node.inputs[0]!, ...extra],
    attributes: without(node.attributes, names),
  });

  if (version < (AXES[node.op] ?? 0)) {
    const axes = intsOf(node, "axes");
    return axes === undefined ? node : moved(["axes"], [list("axes", axes)]);
  }
  switch (node.op) {
    case "Split": {
      const sizes = version < 13 ? intsOf(node, "split") : undefined;
      if (sizes !== undefined) return moved(["split"], [list("split", sizes)]);
      if (node.inputs.length > 1) return node;
      return { ...node, attributes: { ...node.attributes, num_outputs: int(node.outputs.length) } };
    }
    case "Slice":
      if (version >= 10) return node;
      return moved(
        ["starts", "ends", "axes"],
        ["starts", "ends", "axes"].flatMap((role) => {
          const values = intsOf(node, role);
          return values === undefined ? [] : [list(role, values)];
        }),
      );
    case "Clip":
      if (version >= 11) return node;
      return moved(
        ["min", "max"],
        [
          number("min", floatOf(node, "min", -3.4028234663852886e38)),
          number("max", floatOf(node, "max", 3.4028234663852886e38)),
        ],
      );
    case "Pad":
      if (version >= 11) return node;
      return moved(
        ["pads", "value"],
        [list("pads", intsOf(node, "pads") ?? []), number("value", floatOf(node, "value", 0))],
      );
    case "Softmax":
    case "LogSoftmax": {
      if (version >= 13) return node;
      // Up to 12 all axes from `axis` (1 where absent) on were one; only for the last axis that is the same.
      if (intOf(node, "axis", 1) === -1) return { ...node, attributes: { axis: int(-1) } };
      const attributes = { axis: int(intOf(node, "axis", 1)), log: int(node.op === "LogSoftmax" ? 1 : 0) };
      return { ...node, op: SOFTMAX_FROM, domain: "fedloom", attributes };
    }
    default:
      return node;
  }
}

function without(attributes: Attributes, names: readonly string[]): Attributes {
  return Object.fromEntries(Object.entries(attributes).filter(([name]) => !names.includes(name)));
}
