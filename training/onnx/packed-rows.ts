/**
 * A padded batch without its padding: whatever treats tokens apart (projections, norms, feed-forward parts, LoRA) is
 * computed for the real tokens alone, one behind the other; only attention sees examples side by side.
 *
 *   x [B, S, D]  --tokens-->  [n, D]  ...  --places-->  [B, S, ...]  attention  --tokens-->  [n, ...]
 *
 * Behind padding stands the first token's value, which nothing reads: as keys these places are hidden by the batch's
 * mask, as queries they end at the next pick. So no gradient comes back from them either.
 */
import { sizeOf, type TensorSet } from "../../adapters/tensor.ts";
import { intOf } from "./graph.ts";
import type { Maths } from "./maths.ts";
import { type Operation, readersOf, type Value } from "./program.ts";
import { RowsApart, rowsAt } from "./rows-apart.ts";

/** Tokens of a padded batch that are computed, and where each position of the batch finds its own. */
export interface Packing {
  /** Positions, row-major; the last ones of a block fill it up. */
  readonly tokens: readonly number[];
  /** For each position its index in `tokens`. */
  readonly places: readonly number[];
}

/** In steps of an eighth of all positions: each other number of tokens costs a session. */
const STEPS = 8;
/** Less is not worth the moving of rows. */
const FEWEST_POSITIONS = 256;

/**
 * @param inputs of a batch, with the mask [B, S] of its tokens
 * @param wanted positions whose output is asked for
 * @param blocks of rows, one a client: each gets as many tokens as the longest has
 * @returns undefined where an eighth of the positions or less would be spared
 */
export function packingOf(inputs: TensorSet, wanted: readonly number[], blocks = 1): Packing | undefined {
  const mask = inputs.get("attention_mask");
  if (mask?.dtype !== "I64" || mask.shape.length !== 2 || mask.shape.includes(1)) return undefined;
  const total = sizeOf(mask.shape);
  const size = total / blocks;
  const real = Array.from({ length: blocks }, (): number[] => []);
  (mask.data as BigInt64Array).forEach((bit, at) => {
    if (bit !== 0n) real[Math.floor(at / size)]!.push(at);
  });
  const step = Math.ceil(size / STEPS);
  const count = Math.ceil(Math.max(...real.map(({ length }) => length)) / step) * step;
  if (total < FEWEST_POSITIONS || count > size - step || real.some(({ length }) => length === 0))
    return undefined;
  const tokens = real.flatMap((own) => [...own, ...new Array<number>(count - own.length).fill(own[0]!)]);
  const places = Array.from({ length: total }, (_, at) => Math.floor(at / size) * count);
  // Backwards, so that a token which also fills up stands at its first place.
  for (let i = tokens.length - 1; i >= 0; i--) places[tokens[i]!] = i;
  if (wanted.some((at) => tokens[places[at]!] !== at)) return undefined;
  return { tokens, places };
}

/**
 * @param output what is asked for, made by `operations`
 * @param start [B, S, D], rows of tokens: the embeddings
 * @param tokens I64 [n]; places I64 [B S]; blocks as packingOf was told
 * @returns the output, of the same shape and at wanted positions of the same values
 */
export function packRows(
  output: Value,
  start: Value,
  { tokens, places, blocks }: { readonly tokens: Value; readonly places: Value; readonly blocks: number },
  operations: readonly Operation[],
  g: Maths,
): Value {
  const apart = new RowsApart(places.shape[0]!, readersOf(operations), blocks);
  const inside = connected(start, operations, apart);
  const packedOf = new Map<Value, Value>();
  const wholeOf = new Map<Value, Value>();
  const whole = (value: Value): Value => {
    const known = wholeOf.get(value);
    if (known !== undefined) return known;
    const { from } = value;
    const made =
      from !== undefined && inside.has(from)
        ? g.reshape(g.gather(packed(value), places, 0), value.shape)
        : value;
    wholeOf.set(value, made);
    return made;
  };
  const packed = (value: Value): Value => {
    const known = packedOf.get(value);
    if (known !== undefined) return known;
    const made = rowsAt(apart, whole(value), tokens, g);
    packedOf.set(value, made);
    return made;
  };
  for (const operation of operations) {
    const { op, domain, name, inputs, outputs, attributes, outputCount } = operation;
    g.builder.at(name, () => {
      if (inside.has(operation)) {
        packedOf.set(outputs[0]!, apart.again(operation, packed, tokens.shape[0]!, g));
      } else if (picksRows(operation, inside, apart)) {
        wholeOf.set(outputs[0]!, g.gather(packed(inputs[0]!), g.gather(places, inputs[1]!, 0), 0));
      } else if (inputs.some((input) => input !== undefined && whole(input) !== input)) {
        const results = g.builder.emit(
          op,
          inputs.map((input) => input && whole(input)),
          attributes,
          { domain, name, outputCount },
        );
        outputs.forEach((value, i) => {
          wholeOf.set(value, results[i]!);
        });
      }
    });
  }
  return whole(output);
}

/** The operations on rows of tokens: those that keep rows apart and hang together with the embeddings by such ones. */
function connected(start: Value, operations: readonly Operation[], apart: RowsApart): ReadonlySet<Operation> {
  const candidates = operations.flatMap((operation) => {
    const rows = apart.rowOperands(operation);
    return rows === undefined ? [] : [{ operation, values: [operation.outputs[0]!, ...rows] }];
  });
  const inside = new Set<Operation>();
  const values = new Set([start]);
  // Forwards along the residual stream, backwards into what is added to it; what was found going back may lead on.
  for (let found = -1; found !== inside.size; ) {
    found = inside.size;
    for (const order of [candidates, candidates.toReversed()])
      for (const candidate of order) {
        if (inside.has(candidate.operation) || !candidate.values.some((value) => values.has(value))) continue;
        inside.add(candidate.operation);
        for (const value of candidate.values) values.add(value);
      }
  }
  return inside;
}

/** Gather of rows of a value that is packed, [B S, ...]. */
function picksRows(operation: Operation, inside: ReadonlySet<Operation>, apart: RowsApart): boolean {
  const x = operation.inputs[0];
  return (
    operation.op === "Gather" &&
    x?.from !== undefined &&
    inside.has(x.from) &&
    apart.leading(x.shape) === 1 &&
    intOf(operation, "axis", 0) === 0
  );
}
