/**
 * At which bytes of which file an initializer lies, so that a merge overwrites those and leaves every other byte of a
 * model as its exporter wrote it.
 */
import { isAbsolute } from "node:path";
import type { GraphFile } from "../onnx/engine.ts";
import { decodeModel } from "../onnx/format/codec.ts";
import { cannot } from "./places.ts";

export interface ByteRange {
  /** File in the graph's folder. */
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

/**
 * Initializers of the main graph that lie in a file as raw bytes, by name.
 *
 * @throws FedloomError F3013 for weights outside the graph's folder: a hostile graph must not make us write elsewhere
 */
export function initializerRanges(file: GraphFile): ReadonlyMap<string, ByteRange> {
  const ranges = new Map<string, ByteRange>();
  for (const { name = "", rawData, dataLocation, externalData = [] } of decodeModel(file.bytes).graph
    ?.initializer ?? []) {
    if (dataLocation === 1) {
      const entry = (key: string) => externalData.find((other) => other.key === key)?.value;
      const location = entry("location") ?? "";
      if (isAbsolute(location) || location.split(/[/\\]/).includes("..")) {
        throw cannot(file.name, `weights at "${location}" must lie beside the graph`);
      }
      const offset = Number(entry("offset") ?? 0);
      ranges.set(name, {
        location,
        offset,
        length: Number(entry("length") ?? Number.NaN),
      });
    } else if (rawData !== undefined) {
      // The decoder gives views into the file's bytes.
      const offset = rawData.byteOffset - file.bytes.byteOffset;
      ranges.set(name, { location: file.fileName, offset, length: rawData.length });
    }
  }
  return ranges;
}

/** Files beside the graph that hold its weights. */
export function externalFiles(file: GraphFile): readonly string[] {
  const locations = [...initializerRanges(file).values()].map(({ location }) => location);
  return [...new Set(locations)].filter((location) => location !== file.fileName);
}
