/**
 * Where a graph keeps the parameters that PyTorch's names mean: which initializer, which way round, which columns.
 */
import { parseName } from "../../adapters/tensor-names.ts";
import { FedloomError } from "../../base/errors.ts";
import type { AddedNorms, GraphFile, LinearModule, ModuleLocation } from "../onnx/engine.ts";
import { floatOf, type Graph, type GraphNode } from "../onnx/graph.ts";
import { loadGraph } from "../onnx/load.ts";
import { resolveBranches } from "../onnx/lower/branches.ts";
import { inlineFunctions } from "../onnx/lower/functions.ts";
import { findModules } from "../onnx/targets/find.ts";
import { matchModule } from "../onnx/targets/match.ts";
import { matchNamed, type NamedModule, namedModules } from "../onnx/targets/named.ts";
import { readsOf } from "../onnx/targets/reads.ts";
import { type Weight, weightOf } from "../onnx/weight.ts";

/** A parameter in PyTorch's layout, element (row, column), lies at `start + row * rowStep + column * columnStep`. */
export interface Place {
  readonly weightName: string;
  readonly weight: Weight;
  readonly rows: number;
  readonly columns: number;
  readonly start: number;
  readonly rowStep: number;
  readonly columnStep: number;
  /** What the graph's number is more than PyTorch's (onnx/targets/named.ts). */
  readonly offset?: number;
  /**
   * Others read the weight too: the place is in a copy of it, [rows, columns], that whatever picks rows of this value is to
   * take (table-copy.ts).
   */
  readonly copyFor?: string;
}

/**
 * Places of the parameter that an adapter's tensor belongs to, in every branch of the graph; none where the graph
 * has no such module. A weight [out, in] has `out` rows, a bias or a norm one column, an embedding `vocabulary` rows, a
 * convolution a row for each channel it makes.
 */
export type FindPlaces = (tensorName: string) => readonly Place[];

/** What a model directory says about a graph beside the graph itself. */
export interface PlaceHints {
  readonly mapping?: Readonly<Record<string, ModuleLocation>> | undefined;
  readonly addedNorms?: AddedNorms | undefined;
  readonly turnedLinears?: RegExp | undefined;
}

/** @throws FedloomError F2110 where the file cannot be read */
export function placesOf(file: GraphFile, hints: PlaceHints = {}): FindPlaces {
  const loaded = inlineFunctions(loadGraph(file));
  // A merged decoder computes with a cache or without: both ways must be changed.
  const ways = [0, 1].map((cached) =>
    resolveBranches(loaded, new Map([["use_cache_branch", weightOf("BOOL", [1], Uint8Array.of(cached))]])),
  );
  const finders = ways.map((graph) => finderOf(graph, hints, file.name));
  return (tensorName) => {
    const found = finders.flatMap((find) => find(tensorName));
    return found.filter((place, i) => found.findIndex((other) => samePlace(other, place)) === i);
  };
}

function samePlace(a: Place, b: Place): boolean {
  return a.weightName === b.weightName && a.start === b.start && a.rows === b.rows;
}

function finderOf(
  graph: Graph,
  { mapping = {}, addedNorms, turnedLinears }: PlaceHints,
  file: string,
): FindPlaces {
  const reads = readsOf(graph.inputs);
  const linears = findModules(graph, mapping);
  const named = namedModules(graph, linears, addedNorms);
  return (tensorName) => {
    const name = parseName(tensorName);
    if (name === undefined) return [];
    const module = matchNamed(name.module, named, reads);
    if (module !== undefined) return namedPlace(graph, module, name.part, file);
    const linear = matchModule(name.module, linears, reads);
    if (linear === undefined) return [];
    if (name.part === "bias") return biasPlace(graph, linear);
    const place = productPlace(graph, linear, file);
    return [name.part === "weight" && turnedLinears?.test(name.module) ? turned(place) : place];
  };
}

/** A bias or the weight of a module that is no linear layer: as PyTorch has it, but for what a norm adds to its own. */
function namedPlace(graph: Graph, module: NamedModule, part: string, file: string): readonly Place[] {
  const weightName = part === "bias" ? module.bias : module.weight;
  if (weightName === undefined) return [];
  const weight = graph.weights.get(weightName)!;
  if (module.table && part === "weight" && isShared(graph, module)) return [copyPlace(weight, module)];
  requireOneReader(graph, weightName, file);
  const [first, ...rest] = weight.shape as [number, ...number[]];
  const last = rest.reduce((product, dim) => product * dim, 1);
  const offset = part === "bias" ? 0 : module.offset;
  const layout = module.turned
    ? { rows: last, columns: first, rowStep: 1, columnStep: last }
    : { rows: first, columns: last, rowStep: last, columnStep: 1 };
  return [{ weightName, weight, ...layout, start: 0, offset }];
}

/** Whether anything but what picks rows reads a table: a head that is tied to it. */
function isShared({ nodes }: Graph, { weight, read }: NamedModule): boolean {
  return nodes.some(
    ({ op, inputs }) =>
      (inputs.includes(weight) || inputs.includes(read)) && !(op === "Gather" && inputs[0] === read),
  );
}

/**
 * A table that a head shares: PEFT trains a copy of the embedding alone, and so it merges; the head keeps the old one.
 */
function copyPlace(weight: Weight, { weight: weightName, read, turned: isTurned }: NamedModule): Place {
  const [rows, columns] = (isTurned ? weight.shape.toReversed() : weight.shape) as [number, number];
  const copy = { ...weight, shape: [rows, columns] };
  return {
    weightName,
    weight: copy,
    rows,
    columns,
    start: 0,
    rowStep: columns,
    columnStep: 1,
    copyFor: read,
  };
}

function productPlace(graph: Graph, module: LinearModule, file: string): Place {
  const { path, layout, weight: weightName, in: columns, out: rows, nodeOut } = module;
  if (layout === "nbits") throw cannot(file, `"${path}" has quantized weights`);
  const node = graph.nodes.find(({ name }) => name === module.node)!;
  if (floatOf(node, "alpha", 1) !== 1) throw cannot(file, `${node.op} "${node.name}" scales its product`);
  requireAlone(graph, node, module, file);
  const [rowStep, columnStep] = layout === "out_in" ? [columns, 1] : [1, nodeOut];
  const start = (module.columns?.[0] ?? 0) * rowStep;
  return { weightName, weight: graph.weights.get(weightName)!, rows, columns, start, rowStep, columnStep };
}

/** Walks from the product to its weight: everything on the way must serve this product alone. */
function requireAlone(graph: Graph, node: GraphNode, module: LinearModule, file: string): void {
  let value = node.inputs[1]!;
  while (value !== module.weight) {
    requireOneReader(graph, value, file);
    const producer = graph.nodes.find(({ outputs }) => outputs.includes(value))!;
    if (producer.op === "DequantizeLinear") throw cannot(file, `"${module.path}" has quantized weights`);
    value = producer.inputs[0]!;
  }
  requireOneReader(graph, value, file);
}

/** A weight that other nodes read too (a head tied to the embeddings) would change for them as well. */
function requireOneReader(graph: Graph, value: string, file: string): void {
  const readers = graph.nodes.filter(({ inputs }) => inputs.includes(value));
  if (readers.length === 1) return;
  const names = readers.map(({ op, name }) => `${op} "${name}"`).join(", ");
  throw cannot(file, `weight "${value}" must be read by one node, got ${names}; keep the adapter apart`);
}

function biasPlace(graph: Graph, linear: LinearModule): readonly Place[] {
  const node = graph.nodes.find(({ name }) => name === linear.node)!;
  const inside = node.op === "Gemm" || node.op === "FusedGemm" || node.op === "Attention";
  const weightName = inside ? node.inputs[2] : addedTo(graph, node);
  return vectorPlace(graph, weightName, linear.columns?.[0] ?? 0, linear.out);
}

function addedTo(graph: Graph, node: GraphNode): string | undefined {
  const readers = graph.nodes.filter(({ inputs }) => inputs.includes(node.outputs[0]!));
  if (readers.length !== 1 || readers[0]!.op !== "Add") return undefined;
  return readers[0]!.inputs.find((name) => name !== node.outputs[0]);
}

function vectorPlace(
  graph: Graph,
  weightName: string | undefined,
  start: number,
  rows: number,
): readonly Place[] {
  const weight = graph.weights.get(weightName ?? "");
  if (weightName === undefined || weight?.shape.length !== 1) return [];
  return [{ weightName, weight, rows, columns: 1, start, rowStep: 1, columnStep: 1 }];
}

/** The same numbers with rows and columns changed. */
export function turned({ rows, columns, rowStep, columnStep, ...rest }: Place): Place {
  return { ...rest, rows: columns, columns: rows, rowStep: columnStep, columnStep: rowStep };
}

export function cannot(file: string, why: string): FedloomError {
  return new FedloomError("F3013", `Cannot merge an adapter into "${file}": ${why}`, { file });
}
