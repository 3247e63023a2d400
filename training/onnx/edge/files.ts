/** The engine's only touch of the disk: a graph file and the weight files beside it. */
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { basename, dirname, resolve, sep } from "node:path";
import { FedloomError, messageOf } from "../../../base/errors.ts";
import type { GraphFile } from "../engine.ts";

/** @throws FedloomError F2101 where it cannot be read */
export function openGraphFile(path: string): GraphFile {
  const whole = resolve(path);
  const folder = dirname(whole);
  let bytes: Uint8Array;
  try {
    const buffer = readFileSync(whole);
    // A Buffer's slices would be views.
    bytes = new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  } catch (cause) {
    throw new FedloomError("F2101", `Cannot read graph "${path}": ${messageOf(cause)}`, { path }, { cause });
  }
  return { name: path, bytes, folder, fileName: basename(whole), read: readPart(folder) };
}

function readPart(folder: string): GraphFile["read"] {
  return (location, offset, length) => {
    const path = resolve(folder, location);
    // A hostile graph must not read files elsewhere.
    if (!path.startsWith(folder + sep))
      throw new FedloomError("F2110", `Cannot read weights at "${location}": they must lie beside the graph`);
    try {
      const handle = openSync(path, "r");
      try {
        const bytes = new Uint8Array(length);
        let done = 0;
        while (done < length) {
          const read = readSync(handle, bytes, done, length - done, offset + done);
          if (read === 0) throw new Error(`it ends at byte ${offset + done}, ${offset + length} are needed`);
          done += read;
        }
        return bytes;
      } finally {
        closeSync(handle);
      }
    } catch (cause) {
      throw new FedloomError("F2101", `Cannot read weights in "${path}": ${messageOf(cause)}`, {}, { cause });
    }
  };
}
