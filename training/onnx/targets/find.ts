/**
 * The linear layers of a graph: products with a frozen matrix, under the module path that the exporter left
 * in the node's or the weight's name. Packed projections are split into the modules they hold.
 */

import type { LinearModule, ModuleLocation } from "../engine.ts";
import { type Graph, type GraphNode, intOf } from "../graph.ts";
import type { Weight } from "../weight.ts";
import { biasOf, type Linear, moduleOf } from "./linear.ts";
import { LAYER } from "./match.ts";
import { packedColumns } from "./packed.ts";
import { structuralPaths } from "./structure.ts";

/** @param mapping overrides what the graph says, module by module */
export function findModules(
  graph: Graph,
  mapping: Readonly<Record<string, ModuleLocation>> = {},
): readonly LinearModule[] {
  const linears = findLinears(graph);
  const mapped = new Set(Object.values(mapping).map((location) => location.node));
  const named = linears.filter(({ node }) => !mapped.has(node.name));
  const structural = named.some(({ path }) => path === undefined) ? structuralPaths(graph, named) : new Map();
  const found = named.flatMap((linear): LinearModule[] => {
    const path: string | undefined = linear.path ?? structural.get(linear.node);
    return path === undefined ? [] : packedColumns(graph, linear, path);
  });
  const given = Object.entries(mapping).flatMap(([path, { node, slice }]): LinearModule[] => {
    const linear = linears.find((l) => l.node.name === node);
    if (linear === undefined) return [];
    const columns = slice ?? undefined;
    const out = columns === undefined ? linear.out : columns[1] - columns[0];
    return [moduleOf(linear, path, out, columns)];
  });
  return [...found, ...given];
}

export function findLinears(graph: Graph): readonly Linear[] {
  const producers = new Map(graph.nodes.flatMap((node) => node.outputs.map((name) => [name, node] as const)));
  return graph.nodes.flatMap((node): Linear[] => {
    const sizes = sizesOf(node, graph, producers);
    return sizes === undefined ? [] : [{ node, ...sizes, path: pathOf(node, sizes.weightName, graph) }];
  });
}

type Sizes = Pick<Linear, "weightName" | "in" | "out" | "layout">;

function sizesOf(
  node: GraphNode,
  graph: Graph,
  producers: ReadonlyMap<string, GraphNode>,
): Sizes | undefined {
  if (node.op === "MatMulNBits" || node.op === "MatMulBnb4")
    return {
      weightName: node.inputs[1]!,
      in: intOf(node, "K", 0),
      out: intOf(node, "N", 0),
      layout: "nbits",
    };
  const products = ["MatMul", "Gemm", "FusedMatMul", "FusedGemm"];
  if (!products.includes(node.op)) return undefined;
  const matrix = matrixOf(node.inputs[1] ?? "", graph, producers);
  if (matrix === undefined) return undefined;
  const turned = node.op !== "MatMul" && intOf(node, "transB", 0) === 1;
  const [rows, columns] = matrix.weight.shape as [number, number];
  return matrix.turned !== turned
    ? { weightName: matrix.name, in: columns, out: rows, layout: "out_in" }
    : { weightName: matrix.name, in: rows, out: columns, layout: "in_out" };
}

/** The two-dimensional weight behind a name, through Transpose, Cast and DequantizeLinear. */
function matrixOf(
  name: string,
  graph: Graph,
  producers: ReadonlyMap<string, GraphNode>,
): { name: string; weight: Weight; turned: boolean } | undefined {
  const weight = graph.weights.get(name);
  if (weight !== undefined) return weight.shape.length === 2 ? { name, weight, turned: false } : undefined;
  const producer = producers.get(name);
  if (producer === undefined || !["Transpose", "Cast", "DequantizeLinear", "Identity"].includes(producer.op))
    return undefined;
  const behind = matrixOf(producer.inputs[0]!, graph, producers);
  if (behind === undefined) return undefined;
  return producer.op === "Transpose" ? { ...behind, turned: !behind.turned } : behind;
}

/**
 * "/model/layers.0/self_attn/q_proj/MatMul" -> "model.layers.0.self_attn.q_proj". Without a path in the
 * names of the node and its output, what the exporter noted beside the node is taken, or the name of the weight or
 * of the bias that is added, if it is one of PyTorch's ("model.layers.0.self_attn.q_proj.weight"). These tell the layer
 * also where code around the model called the layer's parts one by one and the node's name has lost it ("/q_proj_1/MatMul").
 */
function pathOf(node: GraphNode, weightName: string, graph: Graph): string | undefined {
  const path = nodePath(node) ?? node.module;
  if (path !== undefined && LAYER.test(path)) return path;
  const named = /^(.*?)(\.MatMul)?\.(weight|weight_Q\d|weight_quant|qweight)(_.*)?$/.exec(weightName);
  const stored = named?.[1] ?? /^(.*)\.bias$/.exec(biasOf(graph, node) ?? "")?.[1];
  return stored !== undefined && LAYER.test(stored) ? stored : (path ?? stored);
}

function nodePath(node: GraphNode): string | undefined {
  for (const name of [node.name, node.outputs[0]!]) {
    const parts = withoutContainers(name.split("/").filter((part) => part !== "" && !FUSION.test(part)));
    const from = parts.findIndex((part) => !/^(else|then|if)/i.test(part));
    const path = parts.slice(Math.max(from, 0), -1).join(".");
    if (/[a-z]/i.test(path)) return path;
  }
  return undefined;
}

/** What the runtime's optimizer puts behind the name of a node that it joined with another: "MatMulScaleFusion". */
const FUSION = /Fusion$/;

/** A Sequential is called by its own name before its members: "mlp/mlp.0" is module "mlp.0". */
function withoutContainers(parts: readonly string[]): readonly string[] {
  return parts.filter((part, i) => {
    const next = parts[i + 1];
    return next === undefined || !(next.startsWith(`${part}.`) && /^\d+$/.test(next.slice(part.length + 1)));
  });
}
