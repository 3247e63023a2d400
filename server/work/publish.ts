/**
 * The files a run leaves for people and other programs: metrics.jsonl with a line a round, at the end summary.json and
 * the adapter as a PEFT directory. Written again after a crash, they come out the same.
 */
import { appendFile, mkdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { corePairs } from "../../adapters/core.ts";
import { replaceFile } from "../../adapters/durable-file.ts";
import { copyPeft, writePeft } from "../../adapters/peft.ts";
import { SOFTWARE } from "../../proto/version.ts";
import type { Blobs } from "../blobs/blobs.ts";
import type { RoundRecord } from "../history.ts";
import { manifestOf } from "../manifest.ts";
import { bestOf, type Run } from "../run/state.ts";
import { isLarge, readAdapter, readWhole } from "./aggregate.ts";
import type { Place } from "./place.ts";

export const ADAPTER_DIRECTORY = "adapter";

/** What is known before round 1, or was before a restart. */
export async function startFiles(directory: string, place: ManifestParts): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, "config.json"), `${JSON.stringify(place.row.config, undefined, 2)}\n`);
  await writeManifest(directory, place);
}

type ManifestParts = Pick<Place, "row" | "run" | "dataUsed">;

export async function writeManifest(directory: string, { row, run, dataUsed }: ManifestParts): Promise<void> {
  const manifest = manifestOf(row, run, dataUsed, SOFTWARE);
  await writeFile(join(directory, "manifest.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
}

/** One line of metrics.jsonl. */
export function lineOf(round: RoundRecord): string {
  return `${JSON.stringify(round)}\n`;
}

/**
 * Adds the newest round's line. A file that is not exactly what the rounds before it left, as after a crash in the
 * middle of a line, is written anew from all of them.
 *
 * @param beforeBytes length of the lines of all rounds but the last
 */
export async function publishRounds(
  directory: string,
  rounds: readonly RoundRecord[],
  beforeBytes: number,
): Promise<void> {
  const path = join(directory, "metrics.jsonl");
  const size = await stat(path).then(
    (found) => found.size,
    () => 0,
  );
  if (size === beforeBytes) {
    await appendFile(path, lineOf(rounds.at(-1)!), { flush: true });
    return;
  }
  const text = Buffer.from(rounds.map(lineOf).join(""));
  replaceFile(path, (write) => write(text));
}

/** The last global adapter as a PEFT directory, and the run in one file. */
export async function finishFiles(
  directory: string,
  run: Run,
  rounds: readonly RoundRecord[],
  blobs: Blobs,
): Promise<void> {
  const sha256 = await writeLast(join(directory, ADAPTER_DIRECTORY), run, blobs);
  const best = bestOf(run);
  const summary = {
    schema: "fedloom.summary/1",
    run: run.id,
    name: run.config.name,
    rounds: run.config.rounds,
    base: run.base,
    adapter: { directory: ADAPTER_DIRECTORY, sha256 },
    last: rounds.at(-1),
    ...(best !== undefined && {
      best: { round: best.round, [run.config.keep.best!]: best.score, adapter: best.global.model.sha256 },
    }),
    metrics: rounds.map(({ round, loss, metrics }) => ({ round, loss, metrics })),
    clientRounds: rounds.reduce((sum, { ok }) => sum + ok, 0),
    failures: rounds.reduce((sum, { failed }) => sum + failed, 0),
    bytesDown: rounds.reduce((sum, { bytesDown }) => sum + bytesDown, 0),
    bytesUp: rounds.reduce((sum, { bytesUp }) => sum + bytesUp, 0),
    durationMs: rounds.reduce((sum, { durationMs }) => sum + durationMs, 0),
  };
  replaceFile(join(directory, "summary.json"), (write) =>
    write(Buffer.from(`${JSON.stringify(summary, undefined, 2)}\n`)),
  );
}

/** A large adapter is its blob's very file, unless something is folded into it. @returns the tensors' SHA-256 */
async function writeLast(directory: string, run: Run, blobs: Blobs): Promise<string> {
  const { id, baseDelta } = run;
  const global = run.global!;
  const what = `run "${id}"`;
  if (baseDelta === undefined && isLarge(blobs, global)) {
    const adapter = await readAdapter(blobs, global, what);
    if (corePairs(adapter.tensors.keys()).length === 0) {
      await copyPeft(directory, adapter, blobs.path!(global.model));
      return global.model.sha256;
    }
  }
  return writePeft(directory, await readWhole(blobs, { global, baseDelta }, what));
}
