/**
 * A round of an adapter that memory should not hold: some modules after another, each result handed on before the next
 * piece is read. For rules that look at one tensor at a time; the bits are those of the round as a whole.
 */
import type { Adapter } from "../adapters/adapter.ts";
import { ARRAY_OF, sizeOf, type Tensor } from "../adapters/tensor.ts";
import { factorPairs } from "../adapters/tensor-names.ts";
import { type Aggregator, joinedState, onlyState } from "./aggregator.ts";
import { type Measured, reportOf } from "./diagnostics.ts";
import type { RoundInput } from "./round.ts";
import type { AggregateResult, StrategyState } from "./strategy.ts";
import { inOrder } from "./updates.ts";

/** Bytes of the global adapter that are in memory at once, in a few copies: as read, as threads see it, and as it comes out. */
export const PIECE_BYTES = 16 * 2 ** 20;

export interface PieceOptions {
  readonly aggregator: Pick<Aggregator, "aggregatePart">;
  /** Names of all tensors, in the order in which `emit` gets them. */
  readonly order: readonly string[];
  readonly pieceBytes?: number;
  /** A tensor of the global adapter, freshly copied: its memory is given back when the piece is done. */
  read(name: string): Tensor;
  /** Takes the new tensors of a piece, which are there until it resolves. */
  emit(tensors: readonly Tensor[]): Promise<void>;
}

/** @throws FedloomError as aggregateRound does; what was emitted before is then of no use */
export async function aggregateInPieces(
  input: RoundInput,
  { aggregator, order, pieceBytes, read, emit }: PieceOptions,
): Promise<Pick<AggregateResult, "state" | "report">> {
  const { config } = input.global;
  const measured: Measured[] = [];
  const states: StrategyState[] = [];
  let report: Record<string, number> | undefined;
  const pieces = piecesOf(input.global, order, pieceBytes);
  for (const names of pieces) {
    const piece = new Map(names.map((name) => [name, read(name)]));
    const part = await aggregator.aggregatePart({
      ...input,
      ...(report !== undefined && { hashes: new Map() }), // checked with the first piece
      part: 1 / pieces.length,
      global: { config, tensors: piece },
      state: onlyState(input.state, new Set(names)),
    });
    const { result } = part;
    await emit(names.map((name) => result.global.tensors.get(name)!));
    free([...piece.values(), ...result.global.tensors.values()], result.state);
    measured.push(...part.measured);
    states.push(result.state);
    report = { ...result.report, kept: (report?.kept ?? 0) + (result.report.kept ?? 0) };
  }
  const infos = inOrder(input.updates.map(({ info }) => info));
  return {
    state: joinedState(states),
    report: { ...(measured.length > 0 && reportOf(infos, measured)), ...report },
  };
}

/** Consecutive names, modules whole: diagnostics look at both factors of one. */
export function piecesOf(
  { tensors }: Adapter,
  order: readonly string[],
  limitBytes = PIECE_BYTES,
): string[][] {
  const partners = new Map(factorPairs(order).flatMap(({ a, b }) => [[a, b] as const, [b, a] as const]));
  const pieces: string[][] = [];
  let piece: string[] = [];
  let bytes = 0;
  const open = new Set<string>();
  for (const name of order) {
    const { dtype, shape } = tensors.get(name)!;
    const size = sizeOf(shape) * ARRAY_OF[dtype].BYTES_PER_ELEMENT;
    if (piece.length > 0 && open.size === 0 && bytes + size > limitBytes) {
      pieces.push(piece);
      piece = [];
      bytes = 0;
    }
    piece.push(name);
    bytes += size;
    const partner = partners.get(name);
    if (partner !== undefined && !open.delete(name)) open.add(partner);
  }
  return piece.length > 0 ? [...pieces, piece] : pieces;
}

/**
 * Gives back now what was read and what was made of it, as far as the state does not hold it: left to the collector,
 * which sees a few small objects, hundreds of MiB would lie.
 */
function free(tensors: readonly Tensor[], { tensors: sets }: StrategyState): void {
  const bufferOf = ({ data }: Tensor) => data.buffer;
  const kept = new Set(Object.values(sets).flatMap((set) => [...set.values()].map(bufferOf)));
  for (const buffer of new Set(tensors.map(bufferOf)))
    if (buffer instanceof ArrayBuffer && !kept.has(buffer)) buffer.transfer(0);
}
