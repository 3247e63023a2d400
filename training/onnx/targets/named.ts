/**
 * Modules that are no linear layers and keep their weights' names in a graph: embeddings, norms, convolutions. Their
 * values lie as PyTorch has them.
 */

import type { LinearModule } from "../engine.ts";
import type { Graph } from "../graph.ts";
import { belongsTo, LAYER } from "./match.ts";

export interface NamedModule {
  /** Module path as PyTorch would name it, "model.layers.0.input_layernorm". */
  readonly path: string;
  /** Initializers. */
  readonly weight: string;
  readonly bias?: string;
  /** Rows are picked by index: an embedding. */
  readonly table: boolean;
}

const WEIGHT = ".weight";

export function namedModules(graph: Graph, linear: readonly LinearModule[]): readonly NamedModule[] {
  const taken = new Set(linear.map(({ weight }) => weight));
  const read = new Set(graph.nodes.flatMap(({ inputs }) => inputs));
  const picked = new Set(graph.nodes.filter(({ op }) => op === "Gather").map(({ inputs }) => inputs[0]));
  return [...graph.weights].flatMap(([weight, { type, shape }]): NamedModule[] => {
    if (!weight.endsWith(WEIGHT) || !read.has(weight) || (type !== "F32" && type !== "F16")) return [];
    const table = shape.length === 2 && picked.has(weight);
    // A matrix that nothing picks from is a product's, which may have it turned.
    if (!table && (shape.length === 2 || taken.has(weight))) return [];
    const path = weight.slice(0, -WEIGHT.length);
    const bias = `${path}.bias`;
    const biased = !table && graph.weights.has(bias) && read.has(bias);
    return [{ path, weight, table, ...(biased && { bias }) }];
  });
}

/** The module that a path of an adapter means: the same name, or the same from the numbered layer or the model's root on. */
export function matchNamed(
  path: string,
  modules: readonly NamedModule[],
  isEncoder: boolean,
): NamedModule | undefined {
  const exact = modules.find((module) => module.path === path);
  if (exact !== undefined || !belongsTo(path, isEncoder)) return exact;
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
