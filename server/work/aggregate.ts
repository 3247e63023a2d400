/**
 * A round's updates become the next global adapter. Everything it reads is named by hash in the run's state, clients
 * come in byte order of their ids, and chance comes from the run's seed: done again, it gives the same bits.
 */

import type { Adapter } from "../../adapters/adapter.ts";
import { adapterOnDisk } from "../../adapters/adapter-on-disk.ts";
import { withoutCore } from "../../adapters/core.ts";
import { bytesByGroup } from "../../adapters/encoded-update.ts";
import { decodeAdapter, metadataOf } from "../../adapters/peft.ts";
import { formatPeftConfig } from "../../adapters/peft-config.ts";
import { layoutOf, safetensorsPieces, viewSafetensors } from "../../adapters/safetensors.ts";
import { writeHeader } from "../../adapters/safetensors-header.ts";
import { stackOnBase } from "../../adapters/side-factors.ts";
import type { Aggregator } from "../../aggregators/aggregator.ts";
import { diagnose } from "../../aggregators/diagnostics.ts";
import { groupOf } from "../../aggregators/groups.ts";
import { aggregateInPieces } from "../../aggregators/pieces.ts";
import { aggregateUpdates, contextOf, type RoundInput } from "../../aggregators/round.ts";
import { decodeState, encodeState } from "../../aggregators/state-file.ts";
import type { AggregateResult, Needs, UpdateInfo } from "../../aggregators/strategy.ts";
import { collectUpdates, type UpdateEntry, type UpdateFiles } from "../../aggregators/updates.ts";
import type { RunConfig } from "../../config/run.ts";
import { infoOf, type Origin, openUpdate } from "../admission.ts";
import type { Blobs } from "../blobs/blobs.ts";
import type { AdapterRef, BlobRef, Outcome } from "../records.ts";
import type { Contribution } from "../round.ts";
import { strategyOf } from "./prepare.ts";

export interface AggregationInput {
  readonly config: RunConfig;
  readonly round: number;
  readonly global: AdapterRef;
  readonly state: BlobRef;
  readonly totalClients: number;
  readonly updates: readonly Contribution[];
}

export async function readAdapter(blobs: Blobs, ref: AdapterRef, what: string): Promise<Adapter> {
  return (await readGlobal(blobs, ref, what)).global;
}

/**
 * Adapters above this are read from their file tensor by tensor, and averaged some modules at a time: memory then does not
 * grow with them.
 */
export const LARGE_BYTES = 64 * 2 ** 20;

export function isLarge({ path }: Blobs, { model }: AdapterRef): boolean {
  return path !== undefined && model.size > LARGE_BYTES;
}

interface Global {
  readonly global: Adapter;
  /** Its file, which updates may count from. */
  readonly origin: Origin;
}

/** An adapter that was handed out; in memory unless it is large. */
export async function readGlobal(blobs: Blobs, ref: AdapterRef, what: string): Promise<Global> {
  if (!isLarge(blobs, ref)) return readInMemory(blobs, ref, what);
  (await blobs.tensors(ref.model, what)).close(); // hashed
  const config = await blobs.bytes(ref.config);
  const { adapter, file } = adapterOnDisk(config, blobs.path!(ref.model), what);
  return { global: adapter, origin: { file, sha256: ref.model.sha256 } };
}

async function readInMemory(blobs: Blobs, ref: AdapterRef, what: string): Promise<Global> {
  const files = { config: await blobs.bytes(ref.config), model: await blobs.bytes(ref.model) };
  const origin = { file: viewSafetensors(files.model, what), sha256: ref.model.sha256 };
  return { global: decodeAdapter(files, what), origin };
}

/** Global adapter, its cores and side factors as one ordinary adapter: what is evaluated and exported. */
export async function readWhole(
  blobs: Blobs,
  { global, baseDelta }: { readonly global: AdapterRef; readonly baseDelta?: AdapterRef | undefined },
  what: string,
): Promise<Adapter> {
  const adapter = withoutCore(await readAdapter(blobs, global, what));
  if (baseDelta === undefined) return adapter;
  return stackOnBase(adapter, (await readAdapter(blobs, baseDelta, `side factors of ${what}`)).tensors);
}

/** The tensors go to their blob one by one: all of them in a row would be the adapter once more. */
export async function writeAdapter(blobs: Blobs, { config, tensors }: Adapter): Promise<AdapterRef> {
  const pieces = safetensorsPieces(tensors, metadataOf(config));
  const model = await blobs.write(async (write) => {
    for (const piece of pieces) await write(piece);
  });
  return { config: await blobs.put(formatPeftConfig(config)), model };
}

/** Updates of less in all are aggregated where they are: a thread would cost more than it frees. */
const INLINE_BYTES = 2 ** 20;

/**
 * @param aggregator threads for large rounds; without it everything happens in this one
 * @throws FedloomError F4005 for damaged blobs, F3103 for too few updates, F3114 where the result is not finite
 */
export async function aggregate(
  blobs: Blobs,
  input: AggregationInput,
  aggregator?: Aggregator,
): Promise<Outcome> {
  const built = strategyOf(input.config);
  const { path } = blobs;
  const bytes = input.updates.reduce((sum, { update }) => sum + update.adapter.model.size, 0);
  const threads = path === undefined || bytes < INLINE_BYTES ? undefined : aggregator;
  const inPieces = threads !== undefined && isLarge(blobs, input.global) && isPiecewise(built.needs);
  const read = inPieces ? readGlobal : readInMemory;
  const { global, origin } = await read(blobs, input.global, `round ${input.round}`);
  const state = decodeState(await blobs.bytes(input.state));
  const { round, totalClients, config } = input;
  const { seed, diagnostics } = config;
  const common = { built, state, round, global, seed, totalClients, diagnostics };
  const make = async (): Promise<Made> => {
    if (threads === undefined) return writeResult(blobs, await aggregateHere(blobs, input, common, origin));
    const files = { ...common, ...(await filesOf(blobs, input, path!)) };
    if (inPieces) return aggregateLarge(blobs, files, threads, origin);
    return writeResult(blobs, await threads.aggregate(files));
  };
  const { report, ...made } = await make();
  return {
    ...made,
    state: await blobs.put(encodeState(made.state)),
    report: { ...finiteOf(report), ...(await bytesUp(blobs, input.updates)) },
  };
}

/** A round's result with its adapters on disk. */
type Made = Pick<AggregateResult, "state" | "report"> & Pick<Outcome, "global" | "baseDelta">;

async function writeResult(
  blobs: Blobs,
  { global, baseDelta, state, report }: AggregateResult,
): Promise<Made> {
  const made = { state, report, global: await writeAdapter(blobs, global) };
  return baseDelta === undefined ? made : { ...made, baseDelta: await writeAdapter(blobs, baseDelta) };
}

/** Whether a rule makes each tensor of the new global adapter from that tensor alone, like the old one. */
function isPiecewise({ separable, changesBase, prunesRanks }: Needs): boolean {
  return separable === "tensor" && changesBase !== true && prunesRanks !== true;
}

/** The new global adapter goes to disk as it is made. */
async function aggregateLarge(
  blobs: Blobs,
  input: RoundInput,
  aggregator: Aggregator,
  { file }: Origin,
): Promise<Made> {
  const { config, tensors } = input.global;
  const header = writeHeader(layoutOf(tensors), metadataOf(config));
  let result: Pick<AggregateResult, "state" | "report"> | undefined;
  const model = await blobs.write(async (write) => {
    await write(header.bytes);
    result = await aggregateInPieces(input, {
      aggregator,
      order: header.order,
      read: (name) => file.read(name),
      async emit(piece) {
        for (const { data } of piece)
          await write(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      },
    });
  });
  return { ...result!, global: { config: await blobs.put(formatPeftConfig(config)), model } };
}

async function aggregateHere(
  blobs: Blobs,
  input: AggregationInput,
  common: Omit<RoundInput, "updates">,
  origin: Origin,
): Promise<AggregateResult> {
  const closers: (() => void)[] = [];
  const origins = new Map([[origin.sha256, origin]]);
  const originOf = async ({ client, start }: Contribution): Promise<Origin> => {
    const { model } = start?.global ?? input.global;
    const known = origins.get(model.sha256);
    if (known !== undefined) return known;
    const file = await blobs.tensors(model, `what client "${client}" started from`);
    closers.push(() => file.close());
    const older = { file, sha256: model.sha256 };
    origins.set(model.sha256, older);
    return older;
  };
  try {
    const entries: UpdateEntry[] = [];
    for (const contribution of input.updates) {
      const from = await originOf(contribution);
      const { entry, close } = await openUpdate(blobs, contribution, from);
      closers.push(close);
      const info = { ...entry.info, ...stalenessOf(input, contribution) };
      entries.push({ ...entry, info, ...(from !== origin && { base: from.file }) });
    }
    const collected = collectUpdates(entries);
    const result = aggregateUpdates(common.built, common.state, contextOf(common), collected);
    if (common.diagnostics === false) return result;
    return { ...result, report: { ...diagnose(common.global, result, collected), ...result.report } };
  } finally {
    for (const close of closers) close();
  }
}

function stalenessOf({ round }: AggregationInput, { start }: Contribution): Pick<UpdateInfo, "staleness"> {
  return start === undefined ? {} : { staleness: round - 1 - start.version };
}

/** Paths for threads, and the hashes that they check before anything is made of the files. */
async function filesOf(
  blobs: Blobs,
  input: AggregationInput,
  path: NonNullable<Blobs["path"]>,
): Promise<Pick<RoundInput, "updates" | "hashes">> {
  const hashes = new Map<string, string>();
  const file = (ref: BlobRef): string => {
    hashes.set(path(ref), ref.sha256);
    return path(ref);
  };
  const files: UpdateFiles[] = [];
  for (const contribution of input.updates) {
    const { update, start } = contribution;
    const { model } = start?.global ?? input.global;
    const origin = { path: file(model), sha256: model.sha256 };
    const isOlder = model.sha256 !== input.global.model.sha256;
    const extras = Object.fromEntries(
      Object.entries(update.extras).map(([kind, ref]) => [kind, file(ref)] as const),
    );
    const info = { ...(await infoOf(blobs, contribution)), ...stalenessOf(input, contribution) };
    const sent = { info, model: file(update.adapter.model), extras, origin };
    files.push(isOlder ? { ...sent, base: origin.path } : sent);
  }
  return { updates: files, hashes };
}

/**
 * Of updates that were just aggregated: their bytes as they came, by the group that their tensors belong to, and of the
 * sets beside them: what a codec saves.
 */
async function bytesUp(blobs: Blobs, updates: AggregationInput["updates"]): Promise<Record<string, number>> {
  const report: Record<string, number> = {};
  /** By the list of names, which files with one header share, as those of a round's clients mostly are. */
  const known = new Map<readonly string[], Record<string, number>>();
  for (const { client, update } of updates) {
    for (const [kind, { size }] of Object.entries(update.extras)) {
      report[`bytesUp.${kind}`] = (report[`bytesUp.${kind}`] ?? 0) + size;
    }
    const file = await blobs.look(update.adapter.model, `update of client "${client}"`);
    try {
      const groups = known.get(file.names) ?? bytesByGroup(file, groupOf);
      known.set(file.names, groups);
      for (const [group, bytes] of Object.entries(groups)) {
        report[`bytesUp.${group}`] = (report[`bytesUp.${group}`] ?? 0) + bytes;
      }
    } finally {
      file.close();
    }
  }
  return report;
}

/** Journals and metrics.jsonl hold finite numbers only; what is not, as a ratio of two zeros, says nothing. */
function finiteOf(report: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(report).filter(([, value]) => Number.isFinite(value)));
}
