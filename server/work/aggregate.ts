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
import type { AggregateResult, UpdateInfo } from "../../aggregators/strategy.ts";
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
  const bytes = input.updates.reduce((sum, { update }) => sum + update.adapter.model.size, 0);
  const { path } = blobs;
  const result =
    aggregator === undefined || path === undefined || bytes < INLINE_BYTES
      ? await aggregateHere(blobs, input, common, origin)
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
  for (const { client, update } of updates) {
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
