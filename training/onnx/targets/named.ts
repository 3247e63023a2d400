/**
 * Modules that are no linear layers: embeddings, norms, convolutions. They are known by the names of their weights, and
 * embeddings and norms by the nodes that read them where the exporter named those alone. Values lie as PyTorch has them,
 * but for norms that scale with 1 + weight, of which graphs hold the sum.
 */

import type { AddedNorms, LinearModule } from "../engine.ts";
import { type Graph, type GraphNode, intOf, intsOf } from "../graph.ts";
import { picksByIds } from "../token-ids.ts";
import { LAYER } from "./match.ts";
import { belongsTo, type Reads } from "./reads.ts";

export interface NamedModule {
  /** Module path as PyTorch would name it, "model.layers.0.input_layernorm". */
  readonly path: string;
  /** Initializers. */
  readonly weight: string;
  readonly bias?: string;
  /** Rows are picked by index: an embedding. */
  readonly table: boolean;
  /** A table's value as nodes read it: the weight, or its transpose where it is a head's matrix. */
  readonly read: string;
  readonly turned: boolean;
  /** What the graph's weight is more than PyTorch's: 1 for a norm of a Gemma, else 0. */
  readonly offset: number;
}

const WEIGHT = ".weight";

/** Where the scale of a norm stands among the inputs. */
const SCALE_OF: Readonly<Record<string, number>> = {
  LayerNormalization: 1,
  RMSNormalization: 1,
  SimplifiedLayerNormalization: 1,
  SkipLayerNormalization: 2,
  SkipSimplifiedLayerNormalization: 2,
};

const NORM_NAME = /(?:norm|ln)[a-z0-9_]*$/i;

export function namedModules(
  graph: Graph,
  linear: readonly LinearModule[],
  added?: AddedNorms,
): readonly NamedModule[] {
  const taken = new Set(linear.map(({ weight }) => weight));
  const readers = Map.groupBy(
    graph.nodes.flatMap((node) => [...new Set(node.inputs)].map((name) => ({ node, name }))),
    ({ name }) => name,
  );
  const readersOf = (name: string): readonly GraphNode[] => (readers.get(name) ?? []).map(({ node }) => node);
  const byIds = new Set(picksByIds(graph.nodes));
  const transposeOf = new Map(
    graph.nodes.filter(isTranspose).map(({ inputs, outputs }) => [inputs[0]!, outputs[0]!]),
  );
  const pickOf = (value: string): GraphNode | undefined =>
    readersOf(value).find(
      (node) => node.op === "Gather" && node.inputs[0] === value && intOf(node, "axis", 0) === 0,
    );
  const found = [...graph.weights].flatMap(([weight, { type, shape }]): NamedModule[] => {
    const own = readersOf(weight);
    if (own.length === 0 || (type !== "F32" && type !== "F16")) return [];
    const transpose = transposeOf.get(weight);
    const straight = pickOf(weight);
    const pick = straight ?? (transpose === undefined ? undefined : pickOf(transpose));
    const table = shape.length === 2 && pick !== undefined;
    const turned = table && straight === undefined;
    const read = turned ? transpose! : weight;
    // A matrix that nothing picks from is a product's, which may have it turned.
    if (!table && (shape.length === 2 || taken.has(weight))) return [];
    const named = weight.endsWith(WEIGHT) && !turned ? weight.slice(0, -WEIGHT.length) : undefined;
    if (table) {
      const path = named ?? moduleOf(pick) ?? (byIds.has(pick) ? "embed_tokens" : undefined);
      return path === undefined ? [] : [{ path, weight, read, turned, table, offset: 0 }];
    }
    const norm = own.find((node) => isScaleOf(node, weight));
    const path = named ?? (norm && shape.length === 1 ? normPath(norm) : undefined);
    if (path === undefined) return [];
    const bias = biasOf(graph, path, norm);
    const isSum =
      shape.length === 1 &&
      (added === "all" || (added !== undefined && bias === undefined)) &&
      !isAddedTo(weight, readersOf);
    const offset = isSum ? 1 : 0;
    return [{ path: asInPyTorch(path), weight, read, turned, table, offset, ...(bias && { bias }) }];
  });
  // A name that several have tells nothing.
  const paths = Map.groupBy(found, ({ path }) => path);
  return found.filter(({ path, weight }) => weight === `${path}${WEIGHT}` || paths.get(path)!.length === 1);
}

/** Builders of fused graphs count the last norm among the layers. */
const asInPyTorch = (path: string): string => path.replace(/layers\.\d+\.final_norm_layernorm$/, "norm");

const isTranspose = (node: GraphNode): boolean =>
  node.op === "Transpose" && `${intsOf(node, "perm") ?? [1, 0]}` === "1,0";

/** "/model/layers.0/input_layernorm/Mul_1" -> "model.layers.0.input_layernorm" */
function moduleOf(node: GraphNode): string | undefined {
  const path = node.name.split("/").filter(Boolean).slice(0, -1).join(".");
  return path || node.module;
}

function normPath(node: GraphNode): string | undefined {
  const path = moduleOf(node);
  return path !== undefined && NORM_NAME.test(path) ? path : undefined;
}

const isScaleOf = (node: GraphNode, weight: string): boolean =>
  node.op === "Mul" || node.inputs[SCALE_OF[node.op] ?? -1] === weight;

function biasOf(graph: Graph, path: string, norm: GraphNode | undefined): string | undefined {
  const named = `${path}.bias`;
  if (graph.weights.has(named) && graph.nodes.some(({ inputs }) => inputs.includes(named))) return named;
  const at = norm === undefined ? undefined : SCALE_OF[norm.op];
  const other = at === undefined || norm!.op.includes("Simplified") ? "" : (norm!.inputs[at + 1] ?? "");
  return graph.weights.has(other) ? other : undefined;
}

/** Whether the graph adds something to a norm's weight itself. */
function isAddedTo(weight: string, readersOf: (name: string) => readonly GraphNode[]): boolean {
  return readersOf(weight).some(
    ({ op, outputs }) => op === "Add" || (op === "Cast" && isAddedTo(outputs[0]!, readersOf)),
  );
}

/** The module that a path of an adapter means: the same name, or the same from the numbered layer or the model's root on. */
export function matchNamed(
  path: string,
  modules: readonly NamedModule[],
  reads: Reads,
): NamedModule | undefined {
  const exact = modules.find((module) => module.path === path);
  if (exact !== undefined || !belongsTo(path, reads)) return exact;
  const alike = modules.filter((module) => withoutRoot(module.path) === withoutRoot(path));
  return alike.length === 1 ? alike[0] : undefined;
}

function withoutRoot(path: string): string {
  const layer = LAYER.exec(path);
  return layer === null ? path.replace(ROOTS, "") : `${layer[1]}.${layer[2]}`;
}

/** What models and exporters put before a module of the whole model or of one of its towers. */
const ROOTS =
  /^(?:(?:model|language_model|text_model|vision_model|vision_tower|audio_tower|transformer|encoder|decoder)\.)*/;
