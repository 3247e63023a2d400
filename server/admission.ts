/**
 * The gate for updates: what passes is whole, of the right form and finite, and nothing behind it looks again.
 *
 * A client's adapter_config.json is parsed and compared, never run: its expressions are the client's, not ours.
 */
import type { Adapter } from "../adapters/adapter.ts";
import { assertSameKind } from "../adapters/compatibility.ts";
import { openSet } from "../adapters/encoded-set.ts";
import { openUpdate as openEncoded } from "../adapters/encoded-update.ts";
import { BASE_KEY } from "../adapters/peft.ts";
import { parsePeftConfig } from "../adapters/peft-config.ts";
import type { SafetensorsFile } from "../adapters/safetensors.ts";
import type { BuiltStrategy } from "../aggregators/build.ts";
import type { ClientInstructions, UpdateInfo } from "../aggregators/strategy.ts";
import { checkUpdate } from "../aggregators/update-check.ts";
import type { UpdateEntry } from "../aggregators/updates.ts";
import type { Blobs } from "./blobs/blobs.ts";
import type { BlobRef, UpdateRecord } from "./records.ts";
import type { Contribution } from "./round.ts";

/** The file that was handed out: what codecs count from. */
export interface Origin {
  readonly file: SafetensorsFile;
  readonly sha256: string;
}

export interface Expected {
  readonly built: BuiltStrategy;
  /** What was handed out, in memory and as its file. */
  readonly global: Adapter;
  readonly origin: Origin;
  readonly instructions: ClientInstructions;
}

/**
 * Opens an update's blobs as a strategy reads them; `close` is the caller's.
 *
 * @param how "tensors" hashes them, "look" trusts what was hashed when it was uploaded
 * @throws FedloomError F4005 for damaged blobs, F3001 to F3011 for files that are none
 */
export async function openUpdate(
  blobs: Blobs,
  contribution: Contribution,
  origin: Origin,
  how: "tensors" | "look" = "tensors",
): Promise<{ readonly entry: UpdateEntry; close(): void }> {
  const { client, update } = contribution;
  const what = `client "${client}"`;
  const opened: SafetensorsFile[] = [];
  const close = (): void => {
    for (const file of opened.splice(0)) file.close();
  };
  const open = async (ref: BlobRef, name: string): Promise<SafetensorsFile> => {
    const file = await blobs[how](ref, `${name} of ${what}`);
    opened.push(file);
    return file;
  };
  try {
    const sent = await open(update.adapter.model, "update");
    const tensors = openEncoded(sent, origin);
    const base = sent.metadata[BASE_KEY] ?? "";
    const extras: Record<string, SafetensorsFile> = {};
    for (const [kind, ref] of Object.entries(update.extras)) {
      extras[kind] = openSet(await open(ref, `set "${kind}"`), origin.file);
    }
    const info = await infoOf(blobs, contribution, base);
    return { entry: { info, tensors, extras }, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** What the client said of its update, with its own adapter_config.json. */
export async function infoOf(
  blobs: Blobs,
  { update, start: _start, ...member }: Contribution,
  base = "",
): Promise<UpdateInfo> {
  const { adapter, examples, steps, tokens, touched, metrics } = update;
  const { client } = member;
  const config = parsePeftConfig(await blobs.bytes(adapter.config), `client "${client}"`, base);
  return { ...member, examples, steps, tokens, touched, metrics, adapter: config };
}

/**
 * Right after the upload: the blobs were hashed then, and are again when they are aggregated.
 *
 * @throws FedloomError that names the client and what is wrong with its update
 */
export async function admit(
  blobs: Blobs,
  client: string,
  update: UpdateRecord,
  { built, global, origin, instructions }: Expected,
): Promise<void> {
  const { entry, close } = await openUpdate(blobs, { client, update }, origin, "look");
  try {
    const mayDiffer = built.needs.heterogeneousRanks === true ? (["rank", "alpha"] as const) : [];
    assertSameKind(global.config, entry.info.adapter, `client "${client}"`, { mayDiffer });
    const { travels, extras } = instructions;
    checkUpdate({ global, needs: built.needs, travels, extras }, entry);
  } finally {
    close();
  }
}
