/**
 * Module paths from the structure alone, for exporters that name neither nodes nor weights.
 */
import type { Graph, GraphNode } from "../graph.ts";
import type { Linear } from "./find.ts";

export function structuralPaths(_graph: Graph, _linears: readonly Linear[]): ReadonlyMap<GraphNode, string> {
  return new Map();
}
