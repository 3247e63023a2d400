/** Blobs that last as long as their process: for fleets in one process and for tests. */
import { sha256 } from "../../base/hash.ts";
import type { Blobs } from "./blobs.ts";
import { checkOffset, tooLong, wrongHash } from "./refusals.ts";
import { Shelf } from "./shelf.ts";

/** @param shelf where whole blobs lie; clients in the same process may share it */
export function createMemoryBlobs(shelf = new Shelf()): Blobs {
  const partial = new Map<string, Uint8Array[]>();
  const keyOf = (owner: string, hash: string) => `${owner}/${hash}`;
  const heldBy = (key: string) => (partial.get(key) ?? []).reduce((sum, chunk) => sum + chunk.length, 0);
  return {
    size: async (hash) => shelf.size(hash),
    put: async (given) => shelf.keep(given.slice()),
    async write(fill) {
      const parts: Uint8Array[] = [];
      await fill(async (bytes) => void parts.push(bytes.slice()));
      return shelf.keep(Buffer.concat(parts));
    },
    held: async (owner, hash) => heldBy(keyOf(owner, hash)),
    async receive(owner, blob, offset, chunks) {
      const key = keyOf(owner, blob.sha256);
      checkOffset(owner, blob, offset, heldBy(key));
      const parts = partial.get(key) ?? [];
      partial.set(key, parts);
      for await (const chunk of chunks) {
        if (heldBy(key) + chunk.length > blob.size) {
          partial.delete(key);
          throw tooLong(owner, blob);
        }
        parts.push(chunk.slice());
      }
      if (heldBy(key) < blob.size) return;
      partial.delete(key);
      const all = Buffer.concat(parts);
      const got = sha256(all);
      if (got !== blob.sha256) throw wrongHash(owner, blob, got);
      await shelf.store([all]);
    },
    async *read(hash, offset) {
      yield* shelf.chunks(hash, offset);
    },
    // Not hashed again as on a disk: what flips bits in this memory flips them anywhere.
    bytes: async (blob) => shelf.bytes(blob.sha256),
    tensors: async (blob, what) => shelf.tensors(blob.sha256, what),
    look: async (blob, what) => shelf.tensors(blob.sha256, what),
    list: async () => shelf.hashes(),
    delete: async (hash) => shelf.delete(hash),
    async forget(owner) {
      for (const key of partial.keys()) if (key.startsWith(`${owner}/`)) partial.delete(key);
    },
  };
}
