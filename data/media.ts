/** Pictures and sounds that stay where they are until somebody reads them. */
import { readFile } from "node:fs/promises";
import { FedloomError, messageOf } from "../base/errors.ts";
import type { Media } from "./example.ts";

/** A file on disk, read anew each time: the operating system caches it better than a heap would. */
export function fileMedia(path: string): Media {
  return {
    name: path,
    async read() {
      try {
        return await readFile(path);
      } catch (cause) {
        throw new FedloomError("F2003", `Cannot read "${path}": ${messageOf(cause)}`, { path }, { cause });
      }
    },
  };
}

/** Bytes that are already here, such as a data URL's. */
export function bytesMedia(name: string, bytes: Uint8Array): Media {
  return { name, read: async () => bytes };
}

const DATA_URL = /^data:[^,;]*;base64,/;

/** @returns undefined unless `text` is a base64 data URL */
export function dataUrlMedia(name: string, text: string): Media | undefined {
  const head = DATA_URL.exec(text);
  return head === null
    ? undefined
    : bytesMedia(name, new Uint8Array(Buffer.from(text.slice(head[0].length), "base64")));
}
