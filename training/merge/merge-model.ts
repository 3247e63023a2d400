/**
 * Merges an adapter into a model directory: a copy of the directory whose graphs compute with W + scale * B·A.
 *
 * The copy holds the graphs of one precision, the weight files they name and the small files beside them. Only the
 * bytes of changed weights differ from the original; the copy gets its name when everything is on disk.
 */
import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import type { Adapter } from "../../adapters/adapter.ts";
import { FedloomError, messageOf } from "../../base/errors.ts";
import { sha256 } from "../../base/hash.ts";
import { hintsOf } from "../graphs.ts";
import { openModelDirectory, type Precision } from "../models/model-directory.ts";
import { openGraphFile } from "../onnx/edge/files.ts";
import type { GraphFile } from "../onnx/engine.ts";
import { ELEMENT_NUMBERS } from "../onnx/weight.ts";
import { externalFiles, initializerRanges } from "./locate.ts";
import { type MergedWeight, planMerge } from "./merge-weights.ts";
import { cannot, placesOf } from "./places.ts";
import { withTableCopy } from "./table-copy.ts";

export interface MergeReport {
  /** Weights changed in each graph. */
  readonly graphs: Readonly<Record<string, number>>;
  readonly bytes: number;
  /** Tensors of the adapter that no graph has a place for. */
  readonly skipped: readonly string[];
}

export interface MergeOptions {
  /** As openModelDirectory takes it. */
  readonly precision?: Precision;
  /**
   * Leaves out tensors that no graph has a place for. Exporters drop layers that no output depends on (the last one of
   * a vision tower read at the layer before), where PEFT still keeps factors.
   */
  readonly skipMissing?: boolean;
}

/**
 * @throws FedloomError F3013 where the adapter does not fit, or `target` exists; F3005 where the disk refuses
 */
export async function mergeModel(
  source: string,
  adapter: Adapter,
  target: string,
  { precision, skipMissing = false }: MergeOptions = {},
): Promise<MergeReport> {
  const directory = await openModelDirectory(source, precision);
  const { graphs } = directory;
  const { mappingOf, ...hints } = hintsOf(directory);
  const opened = [graphs.vision, graphs.audio, graphs.embed, graphs.decoder].flatMap((path) =>
    path === undefined ? [] : [{ path, file: openGraphFile(path) }],
  );
  const files = opened.map(({ file }) => file);
  const plans = opened.map(({ path, file }) => {
    return planMerge(adapter, placesOf(file, { mapping: mappingOf(path), ...hints }), file.name);
  });
  const skipped = [...adapter.tensors.keys()].filter((name) => !plans.some(({ placed }) => placed.has(name)));
  if (skipped.length > 0 && !skipMissing) {
    const more = skipped.length > 1 ? ` and ${skipped.length - 1} more` : "";
    throw cannot(source, `no graph has a place for tensor "${skipped[0]}"${more}`);
  }
  if (existsSync(target)) throw cannot(source, `"${target}" exists; name a new directory`);

  const unfinished = join(dirname(target), `.${basename(target)}.${process.pid}.tmp`);
  try {
    copyModel(source, unfinished, files);
    const counts: Record<string, number> = {};
    let bytes = 0;
    for (const [i, file] of files.entries()) {
      const ranges = initializerRanges(file);
      let count = 0;
      const copies: MergedWeight[] = [];
      for (const merged of plans[i]!.merged()) {
        const { name, bytes: changed, copyFor } = merged;
        bytes += changed.length;
        count++;
        if (copyFor !== undefined) {
          copies.push(merged);
          continue;
        }
        const range = ranges.get(name);
        if (range === undefined || (range.length !== changed.length && !Number.isNaN(range.length))) {
          throw cannot(file.name, `weight "${name}" does not lie among the initializers as raw bytes`);
        }
        overwrite(join(unfinished, "onnx", range.location), range.offset, changed);
      }
      for (const copy of copies) {
        const isInside = ranges.get(copy.name)?.location === file.fileName;
        const picks = addTable(join(unfinished, "onnx", file.fileName), copy, isInside);
        if (picks === 0) throw cannot(file.name, `no node of the graph itself picks rows of "${copy.name}"`);
        untie(join(unfinished, "config.json"));
      }
      counts[relative(source, file.name)] = count;
    }
    renameSync(unfinished, target);
    return { graphs: counts, bytes, skipped };
  } catch (cause) {
    rmSync(unfinished, { recursive: true, force: true });
    if (cause instanceof FedloomError) throw cause;
    throw new FedloomError(
      "F3005",
      `Cannot write the merged model "${target}": ${messageOf(cause)}`,
      { target },
      { cause },
    );
  }
}

function copyModel(source: string, target: string, files: readonly GraphFile[]): void {
  mkdirSync(join(target, "onnx"), { recursive: true });
  for (const entry of readdirSync(source, { withFileTypes: true })) {
    if (entry.isFile()) copyFileSync(join(source, entry.name), join(target, entry.name));
  }
  const parts = new Set(files.flatMap((file) => [file.fileName, ...externalFiles(file)]));
  for (const part of parts) {
    copyFileSync(join(source, "onnx", part), join(target, "onnx", part), constants.COPYFILE_FICLONE);
  }
}

/** Where files of a model with their weights inside end: a protobuf message has no more. */
const LARGEST_FILE = 2 ** 31 - 1;

/**
 * Gives an embedding a table of its own.
 *
 * @param isInside whether the graph file holds its weights itself
 * @returns how many nodes pick rows of it
 */
function addTable(
  path: string,
  { name: weight, weight: { type, shape }, bytes, copyFor }: MergedWeight,
  isInside: boolean,
): number {
  const name = `${weight}/embedding`;
  const model = readFileSync(path);
  // Another name for each table that a graph shares.
  const location = `${basename(path)}_${sha256(name).slice(0, 8)}`;
  const external = Object.entries({ location, offset: 0, length: bytes.length });
  const fits = isInside && model.length + bytes.length < LARGEST_FILE;
  const data = fits
    ? { rawData: bytes }
    : { dataLocation: 1, externalData: external.map(([key, value]) => ({ key, value: String(value) })) };
  const tensor = { name, dims: [...shape], dataType: ELEMENT_NUMBERS[type], ...data };
  const { parts, picks } = withTableCopy(model, { read: copyFor!, tensor }); // a copy has what it is for
  if (!fits) writeWhole(join(dirname(path), location), [bytes]);
  writeWhole(path, parts);
  return picks;
}

/** Head and embedding are no longer one table; PEFT's merge says so in the same place. */
function untie(path: string): void {
  const config: { tie_word_embeddings?: boolean; text_config?: { tie_word_embeddings?: boolean } } =
    JSON.parse(readFileSync(path, "utf8"));
  config.tie_word_embeddings = false;
  if (config.text_config?.tie_word_embeddings !== undefined) config.text_config.tie_word_embeddings = false;
  writeWhole(path, [new TextEncoder().encode(`${JSON.stringify(config, null, 2)}\n`)]);
}

function writeWhole(path: string, parts: readonly Uint8Array[]): void {
  const fd = openSync(path, "w");
  try {
    for (const part of parts)
      for (let done = 0; done < part.length; ) done += writeSync(fd, part, done, part.length - done);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function overwrite(path: string, offset: number, bytes: Uint8Array): void {
  const fd = openSync(path, "r+");
  try {
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(fd, bytes, done, bytes.length - done, offset + done);
    }
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
