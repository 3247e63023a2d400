/**
 * A round's updates become the next global adapter. Everything it reads is named by hash in the run's state, clients
 * come in byte order of their ids, and chance comes from the run's seed: done again, it gives the same bits.
 */

import type { Adapter } from "../../adapters/adapter.ts";
import { decodeAdapter, encodeAdapter } from "../../adapters/peft.ts";
import { viewSafetensors } from "../../adapters/safetensors.ts";
import { stackOnBase } from "../../adapters/side-factors.ts";
import { aggregateUpdates, contextOf } from "../../aggregators/round.ts";
import { decodeState, encodeState } from "../../aggregators/state-file.ts";
import { collectUpdates } from "../../aggregators/updates.ts";
import type { RunConfig } from "../../config/run.ts";
import { type Origin, openUpdate } from "../admission.ts";
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

/** Global adapter and side factors as one ordinary adapter: what is evaluated and exported. */
export async function readWhole(
  blobs: Blobs,
  { global, baseDelta }: { readonly global: AdapterRef; readonly baseDelta?: AdapterRef | undefined },
  what: string,
): Promise<Adapter> {
  const adapter = await readAdapter(blobs, global, what);
  if (baseDelta === undefined) return adapter;
  return stackOnBase(adapter, (await readAdapter(blobs, baseDelta, `side factors of ${what}`)).tensors);
}

export async function writeAdapter(blobs: Blobs, adapter: Adapter): Promise<AdapterRef> {
  const files = encodeAdapter(adapter);
  return { config: await blobs.put(files.config), model: await blobs.put(files.model) };
}

/** @throws FedloomError F4005 for damaged blobs, F3103 for too few updates, F3114 where the result is not finite */
export async function aggregate(blobs: Blobs, input: AggregationInput): Promise<Outcome> {
  const { config, round, totalClients } = input;
  const built = strategyOf(config);
  const { global, origin } = await readGlobal(blobs, input.global, `round ${round}`);
  const state = decodeState(await blobs.bytes(input.state));
  const opened: Awaited<ReturnType<typeof openUpdate>>[] = [];
  try {
    for (const [client, update] of input.updates)
      opened.push(await openUpdate(blobs, client, update, origin));
    const context = contextOf({ built, state, round, global, seed: config.seed, totalClients });
    const result = aggregateUpdates(built, state, context, collectUpdates(opened.map(({ entry }) => entry)));
    const outcome: Outcome = {
      global: await writeAdapter(blobs, result.global),
      state: await blobs.put(encodeState(result.state)),
      report: result.report,
    };
    if (result.baseDelta === undefined) return outcome;
    return { ...outcome, baseDelta: await writeAdapter(blobs, result.baseDelta) };
  } finally {
    for (const update of opened) update.close();
  }
}
