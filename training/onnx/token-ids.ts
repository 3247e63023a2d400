/** Where token ids go in a graph, up to the tables that they pick from. */
import type { GraphNode } from "./graph.ts";

const PLACES = "fedloom.places/";

/** Input that says where a token's row lies among those of a table that a session is fed (table-rows.ts). */
export const placesName = (table: string): string => `${PLACES}${table}`;

export const isPlaces = (name: string): boolean => name.startsWith(PLACES);

/** What ids may go through before they pick. */
const PASSING = new Set(["Reshape", "Cast", "Identity", "Unsqueeze", "Squeeze"]);

/** The nodes that pick rows by the ids of the tokens. @param nodes in topological order */
export function picksByIds(nodes: readonly GraphNode[]): readonly GraphNode[] {
  const ids = new Set(["input_ids"]);
  return nodes.filter(({ op, inputs, outputs }) => {
    if (PASSING.has(op) && ids.has(inputs[0]!)) ids.add(outputs[0]!);
    if (op !== "Gather" || !ids.has(inputs[1]!)) return false;
    if (isPlaces(inputs[0]!)) ids.add(outputs[0]!);
    return !isPlaces(inputs[0]!);
  });
}
