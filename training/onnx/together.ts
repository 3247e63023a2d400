/**
 * Batches of several clients as one: rows in equal blocks, a block a client, and what came out taken apart again.
 *
 * Clients have different numbers of rows and tokens. Short rows are filled up with zeros behind their end, which the
 * attention mask hides as it hides any padding; missing rows are copies of a client's first row without labels, so that
 * nothing in them is out of the ordinary (a row that sees nothing at all would be NaN in some graphs, and NaN times 0
 * is NaN).
 */
import {
  ARRAY_OF,
  sizeOf,
  type Tensor,
  type TensorData,
  type TensorSet,
  tensor,
} from "../../adapters/tensor.ts";
import type { ParameterSpec } from "./engine.ts";
import type { LabelledRows } from "./inputs.ts";

/** What one client brings. */
export interface Block {
  /** All inputs of the graph but the parameters. */
  readonly inputs: TensorSet;
  /** [rows, tokens], or [rows] where an example has one label. */
  readonly labelShape: readonly number[];
  readonly labelled: LabelledRows;
}

export interface Stack {
  /** Blocks that it has room for; those beyond the clients' are copies of the first. */
  readonly slots: number;
  /** Rows of a block, and tokens of a row (1 where a row has one label). */
  readonly rows: number;
  readonly length: number;
  readonly inputs: TensorSet;
  /** Of all clients, at their places in the flattened [slots * rows, length]. */
  readonly labelled: LabelledRows;
}

/** Numbers of clients that passes are made for: few, because each takes a session of its own; at most a third is idle. */
export function slotsFor(clients: number): number {
  const power = 2 ** Math.floor(Math.log2(clients));
  return [power, power * 1.5, power * 2].find((slots) => slots >= clients && Number.isInteger(slots))!;
}

/** @returns undefined where the blocks' inputs do not fit together, as pictures of different sizes */
export function stackBlocks(blocks: readonly Block[]): Stack | undefined {
  const [first] = blocks as [Block, ...Block[]];
  if (blocks.length === 1) {
    const [rows, length = 1] = first.labelShape as [number, number?];
    return { slots: 1, rows, length, inputs: first.inputs, labelled: first.labelled };
  }
  const slots = slotsFor(blocks.length);
  const rows = Math.max(...blocks.map(({ labelShape }) => labelShape[0]!));
  const length = Math.max(...blocks.map(({ labelShape }) => labelShape[1] ?? 1));
  const filled = Array.from({ length: slots }, (_, i) => blocks[i] ?? first);
  const inputs = new Map<string, Tensor>();
  for (const name of first.inputs.keys()) {
    const parts = filled.map((block) => ({
      tensor: block.inputs.get(name)!,
      rows: block.labelShape[0]!,
    }));
    const stacked = stackTensors(parts, rows);
    if (stacked === undefined) return undefined;
    inputs.set(name, stacked);
  }
  const placed = blocks.map(({ labelled, labelShape }, c) =>
    labelled.rows.map((at) => {
      const own = labelShape[1] ?? 1;
      return (c * rows + Math.floor(at / own)) * length + (at % own);
    }),
  );
  const labelled = { rows: placed.flat(), labels: blocks.flatMap((block) => block.labelled.labels) };
  return { slots, rows, length, inputs, labelled };
}

/** One under the other, `rows` rows each: [parts * rows, tokens, ...]. */
export function stackTensors(
  parts: readonly { readonly tensor: Tensor; readonly rows: number }[],
  rows: number,
): Tensor | undefined {
  const first = parts[0]!.tensor;
  const inner = first.shape.slice(2);
  const fits = parts.every(
    ({ tensor: { dtype, shape }, rows: own }) =>
      dtype === first.dtype &&
      shape[0] === own &&
      shape.length === first.shape.length &&
      inner.every((dim, i) => dim === shape[i + 2]),
  );
  if (!fits) return undefined;
  const length = Math.max(...parts.map(({ tensor: { shape } }) => shape[1] ?? 1));
  const width = length * sizeOf(inner);
  const data = new ARRAY_OF[first.dtype](parts.length * rows * width);
  parts.forEach(({ tensor: part, rows: own }, p) => {
    const size = own === 0 ? 0 : part.data.length / own;
    for (let row = 0; row < rows; row++) {
      const from = row < own ? row : 0;
      copy(part.data, from * size, size, data, (p * rows + row) * width);
    }
  });
  const shape = [parts.length * rows, ...(first.shape.length > 1 ? [length] : []), ...inner];
  return tensor(first.dtype, shape, data);
}

function copy(from: TensorData, at: number, count: number, to: TensorData, place: number): void {
  // Both hold elements of one dtype, so that the arrays are of one kind.
  (to as Float32Array).set((from as Float32Array).subarray(at, at + count), place);
}

/** A parameter of all clients, [slots, ...shape]; slots beyond the clients have the first one's. */
export function stackParameters(
  parameters: readonly ParameterSpec[],
  clients: readonly TensorSet[],
  slots: number,
): TensorSet {
  return new Map(
    parameters.map(({ name, shape }) => {
      const size = sizeOf(shape);
      const data = new Float32Array(slots * size);
      for (let slot = 0; slot < slots; slot++) {
        const own = (clients[slot] ?? clients[0]!).get(name)!;
        data.set(own.data as Float32Array, slot * size); // checked to be F32
      }
      return [name, tensor("F32", [slots, ...shape], data)] as const;
    }),
  );
}

/** One client's part of what has its slots in front. */
export function ofClient(client: number, stacked: Tensor): Tensor {
  const [, ...shape] = stacked.shape;
  const size = sizeOf(shape);
  return { ...stacked, shape, data: stacked.data.subarray(client * size, (client + 1) * size) };
}

/** One client's own rows and tokens of what has all clients' rows in front, in its own shape. */
export function rowsOfClient(client: number, own: Tensor, stacked: Tensor, rows: number): Tensor {
  const [ownRows = 0] = own.shape;
  const size = own.data.length / Math.max(1, ownRows);
  const width = stacked.data.length / stacked.shape[0]!;
  const data = new Float32Array(own.data.length);
  for (let row = 0; row < ownRows; row++)
    copy(stacked.data, (client * rows + row) * width, size, data, row * size);
  return tensor("F32", own.shape, data);
}

/**
 * A dropout mask of all clients, each as its own step would have it.
 *
 * @param shape of the whole mask; its rows are those of the stack, token by token or not
 * @param width elements of one row or token: the module's inputs
 * @param maskOf the mask of a client, `count` rows or tokens of `width`
 */
export function stackMasks(
  { slots, rows, length }: Pick<Stack, "slots" | "rows" | "length">,
  shape: readonly number[],
  width: number,
  clients: readonly (readonly number[])[],
  maskOf: (client: number, shape: readonly number[]) => Tensor,
): Tensor {
  const perRow = sizeOf(shape) / (width * slots * rows);
  const data = new Uint8Array(sizeOf(shape)).fill(1);
  clients.forEach(([ownRows = 0, ownLength = 1], c) => {
    const tokens = perRow === length ? ownLength : perRow;
    const own = maskOf(c, [ownRows, tokens, width]);
    for (let row = 0; row < ownRows; row++)
      copy(own.data, row * tokens * width, tokens * width, data, (c * rows + row) * perRow * width);
  });
  return tensor("U8", shape, data);
}
