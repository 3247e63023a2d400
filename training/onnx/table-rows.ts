/**
 * A trained embedding, of which a batch meets few rows: a session is fed those alone, with the place of each token's row
 * among them, and its gradient is as small. Nothing as large as the table is made on the way.
 *
 *   table [V, H], ids      ->  rows [U, H] of the U tokens met, places [V]:  rows[places[id]] = table[id]
 */
import { type Tensor, type TensorSet, tensor } from "../../adapters/tensor.ts";
import { gradientName } from "./compile.ts";
import type { ParameterSpec } from "./engine.ts";
import { placesName } from "./token-ids.ts";

export interface MetRows {
  /** What a session is fed in place of the tables. */
  readonly feeds: TensorSet;
  /** The results with gradients as long as the tables; rows that were not met have none. */
  whole(results: TensorSet): TensorSet;
}

/** So few rows cost nothing, and fewer numbers of rows mean fewer sessions. */
const FEWEST_ROWS = 64;

/**
 * @param tables parameters whose rows are picked by "input_ids" and by nothing else
 * @param parameters without which the rows are zeros, as large as those of any
 */
export function metRows(tables: readonly ParameterSpec[], inputs: TensorSet, parameters: TensorSet): MetRows {
  const ids = [...new Set(inputs.get("input_ids")?.data as BigInt64Array | undefined)].map(Number);
  const feeds = new Map<string, Tensor>();
  for (const { name, shape } of tables) {
    const [count, width] = shape as [number, number];
    const rows = Math.min(count, roomFor(ids.length));
    const picked = new Float32Array(rows * width);
    const source = parameters.get(name)?.data as Float32Array | undefined; // parameters are F32
    // What no batch has said it meets lies behind the end, where the runtime refuses it.
    const places = new BigInt64Array(count).fill(BigInt(rows));
    ids.forEach((id, at) => {
      const row = id < 0 ? id + count : id;
      places[row] = BigInt(at);
      if (source !== undefined) picked.set(source.subarray(row * width, (row + 1) * width), at * width);
    });
    feeds.set(name, tensor("F32", [rows, width], picked));
    feeds.set(placesName(name), tensor("I64", [count], places));
  }
  const whole = ({ shape }: ParameterSpec, gradient: Tensor): Tensor => {
    const [count, width] = shape as [number, number];
    const data = new Float32Array(count * width);
    ids.forEach((id, at) => {
      const row = id < 0 ? id + count : id;
      data.set((gradient.data as Float32Array).subarray(at * width, (at + 1) * width), row * width);
    });
    return tensor("F32", shape, data);
  };
  return {
    feeds,
    whole: (results) => {
      const changed = tables.flatMap((table): [string, Tensor][] => {
        const gradient = results.get(gradientName(table.name));
        return gradient === undefined ? [] : [[gradientName(table.name), whole(table, gradient)]];
      });
      return changed.length === 0 ? results : new Map([...results, ...changed]);
    },
  };
}

/** A power of two, or the half of one more. */
function roomFor(rows: number): number {
  let room = FEWEST_ROWS;
  while (room < rows) room *= 2;
  return room * 0.75 >= Math.max(rows, FEWEST_ROWS) ? room * 0.75 : room;
}
