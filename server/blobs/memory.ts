/** Blobs that last as long as their process: for fleets in one process and for tests. */
import { viewSafetensors } from "../../adapters/safetensors.ts";
import { sha256 } from "../../base/hash.ts";
import { CHUNK_BYTES } from "../../proto/channel.ts";
import type { Blobs } from "./blobs.ts";
import { checkOffset, missingBlob, tooLong, wrongHash } from "./refusals.ts";

/** @param whole where whole blobs lie, by their SHA-256; clients in the same process may share it */
export function createMemoryBlobs(whole = new Map<string, Uint8Array>()): Blobs {
  const partial = new Map<string, Uint8Array[]>();
  const keyOf = (owner: string, hash: string) => `${owner}/${hash}`;
  const heldBy = (key: string) => (partial.get(key) ?? []).reduce((sum, chunk) => sum + chunk.length, 0);
  const find = (hash: string) => {
    const found = whole.get(hash);
    if (found === undefined) throw missingBlob(hash);
    return found;
  };
  // Not hashed again as on a disk: what flips bits in this memory flips them anywhere.
  const bytes: Blobs["bytes"] = async (blob) => find(blob.sha256);
  return {
    size: async (hash) => whole.get(hash)?.length,
    async put(given) {
      const hash = sha256(given);
      whole.set(hash, given.slice());
      return { sha256: hash, size: given.length };
    },
    async write(fill) {
      const parts: Uint8Array[] = [];
      await fill(async (bytes) => void parts.push(bytes.slice()));
      const all = Buffer.concat(parts);
      const hash = sha256(all);
      whole.set(hash, all);
      return { sha256: hash, size: all.length };
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
      if (sha256(all) !== blob.sha256) throw wrongHash(owner, blob, sha256(all));
      whole.set(blob.sha256, all);
    },
    async *read(hash, offset) {
      const found = find(hash);
      for (let at = offset; at < found.length; at += CHUNK_BYTES) yield found.subarray(at, at + CHUNK_BYTES);
    },
    bytes,
    tensors: async (blob, what) => viewSafetensors(await bytes(blob), what),
    look: async (blob, what) => viewSafetensors(find(blob.sha256), what),
    list: async () => [...whole.keys()],
    async delete(hash) {
      whole.delete(hash);
    },
    async forget(owner) {
      for (const key of partial.keys()) if (key.startsWith(`${owner}/`)) partial.delete(key);
    },
  };
}
