/**
 * A round's updates become the next global adapter. Everything it reads is named by hash in the run's state, clients
 * come in byte order of their ids, and chance comes from the run's seed: done again, it gives the same bits.
 */

import type { Adapter } from "../../adapters/adapter.ts";
import { withoutCore } from "../../adapters/core.ts";
import { bytesByGroup } from "../../adapters/encoded-update.ts";
import { decodeAdapter, encodeAdapter } from "../../adapters/peft.ts";
import { viewSafetensors } from "../../adapters/safetensors.ts";
import { stackOnBase } from "../../adapters/side-factors.ts";
import type { Aggregator } from "../../aggregators/aggregator.ts";
import { diagnose } from "../../aggregators/diagnostics.ts";
import { groupOf } from "../../aggregators/groups.ts";
import { aggregateUpdates, contextOf, type RoundInput } from "../../aggregators/round.ts";
import { decodeState, encodeState } from "../../aggregators/state-file.ts";
import type { AggregateResult } from "../../aggregators/strategy.ts";
import { collectUpdates, type UpdateFiles } from "../../aggregators/updates.ts";
import type { RunConfig } from "../../config/run.ts";
import { infoOf, type Origin, openUpdate } from "../admission.ts";
import type { Blobs } from "../blobs/blobs.ts";
import type { AdapterRef, BlobRef, Outcome, UpdateRecord } from "../records.ts";
import { strategyOf } from "./prepare.ts";

export interface AggregationInput {
  readonly config: RunConfig;
  readonly round: number;
  readonly global: AdapterRef;
  readonly state: BlobRef;
  readonly totalClients: number;
  readonly updates: ReadonlyMap<string, UpdateRecord>;
}

export async function readAdapter(blobs: Blobs, ref: AdapterRef, what: string): Promise<Adapter> {
  return (await readGlobal(blobs, ref, what)).global;
}

/** An adapter that was handed out, in memory and as the file that updates may count from. */
export async function readGlobal(
  blobs: Blobs,
  ref: AdapterRef,
  what: string,
): Promise<{ readonly global: Adapter; readonly origin: Origin }> {
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

export async function writeAdapter(blobs: Blobs, adapter: Adapter): Promise<AdapterRef> {
  const files = encodeAdapter(adapter);
  return { config: await blobs.put(files.config), model: await blobs.put(files.model) };
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
  const { global, origin } = await readGlobal(blobs, input.global, `round ${input.round}`);
  const state = decodeState(await blobs.bytes(input.state));
  const { round, totalClients, config } = input;
  const { seed, diagnostics } = config;
  const common = { built, state, round, global, seed, totalClients, diagnostics };
  const bytes = [...input.updates.values()].reduce((sum, { adapter }) => sum + adapter.model.size, 0);
  const { path } = blobs;
  const result =
    aggregator === undefined || path === undefined || bytes < INLINE_BYTES
      ? await aggregateHere(blobs, input.updates, common, origin)
      : await aggregator.aggregate({ ...common, ...(await filesOf(blobs, input, path)) });
  const outcome: Outcome = {
    global: await writeAdapter(blobs, result.global),
    state: await blobs.put(encodeState(result.state)),
    report: { ...finiteOf(result.report), ...(await bytesUp(blobs, input.updates)) },
  };
  if (result.baseDelta === undefined) return outcome;
  return { ...outcome, baseDelta: await writeAdapter(blobs, result.baseDelta) };
}

async function aggregateHere(
  blobs: Blobs,
  updates: AggregationInput["updates"],
  common: Omit<RoundInput, "updates">,
  origin: Origin,
): Promise<AggregateResult> {
  const opened: Awaited<ReturnType<typeof openUpdate>>[] = [];
  try {
    for (const [client, update] of updates) opened.push(await openUpdate(blobs, client, update, origin));
    const collected = collectUpdates(opened.map(({ entry }) => entry));
    const result = aggregateUpdates(common.built, common.state, contextOf(common), collected);
    if (common.diagnostics === false) return result;
    return { ...result, report: { ...diagnose(common.global, result, collected), ...result.report } };
  } finally {
    for (const update of opened) update.close();
  }
}

/** Paths for threads, and the hashes that they check before anything is made of the files. */
async function filesOf(
  blobs: Blobs,
  { global, updates }: AggregationInput,
  path: NonNullable<Blobs["path"]>,
): Promise<Pick<RoundInput, "updates" | "hashes">> {
  const hashes = new Map<string, string>();
  const file = (ref: BlobRef): string => {
    hashes.set(path(ref), ref.sha256);
    return path(ref);
  };
  const origin = { path: file(global.model), sha256: global.model.sha256 };
  const files: UpdateFiles[] = [];
  for (const [client, update] of updates) {
    const extras = Object.fromEntries(
      Object.entries(update.extras).map(([kind, ref]) => [kind, file(ref)] as const),
    );
    const info = await infoOf(blobs, client, update);
    files.push({ info, model: file(update.adapter.model), extras, origin });
  }
  return { updates: files, hashes };
}

/**
 * Of updates that were just aggregated: their bytes as they came, by the group that their tensors belong to, and of the
 * sets beside them: what a codec saves.
 */
async function bytesUp(blobs: Blobs, updates: AggregationInput["updates"]): Promise<Record<string, number>> {
  const report: Record<string, number> = {};
  for (const [client, update] of updates) {
    for (const [kind, { size }] of Object.entries(update.extras)) {
      report[`bytesUp.${kind}`] = (report[`bytesUp.${kind}`] ?? 0) + size;
    }
    const file = await blobs.look(update.adapter.model, `update of client "${client}"`);
    try {
      for (const [group, bytes] of Object.entries(bytesByGroup(file, groupOf))) {
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
