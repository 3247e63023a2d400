/**
 * The blobs of all clients of a fleet, in one memory: what one has fetched, or the coordinator holds in the same memory,
 * the others have too, so that an adapter lies there once however many clients train from it.
 */
import { sha256 } from "../../base/hash.ts";
import { type BlobName, type ClientBlobs, receiveInMemory } from "../../client/blobs.ts";
import { CHUNK_BYTES } from "../../proto/channel.ts";

/**
 * @param whole bytes by their SHA-256. A map that the coordinator's blobs lie in is the coordinator's to clear
 * @returns makes the blobs of one client
 */
export function sharedBlobs(
  whole: Map<string, Uint8Array>,
  { clearedByCoordinator }: { readonly clearedByCoordinator: boolean },
): () => ClientBlobs {
  /** Clients that use a blob; without any it goes. */
  const users = new Map<string, Set<object>>();
  return () => {
    const self = {};
    const use = (name: string): void => {
      if (clearedByCoordinator) return;
      const all = users.get(name) ?? new Set();
      users.set(name, all.add(self));
    };
    const put = (pieces: readonly Uint8Array[]): BlobName => {
      // Who writes a blob in one piece made it for that, and leaves it alone afterwards.
      const bytes = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
      const name = sha256(bytes);
      if (!whole.has(name)) whole.set(name, bytes);
      use(name);
      return { sha256: name, size: bytes.length };
    };
    const read = ({ sha256: name }: BlobName): Uint8Array => {
      const bytes = whole.get(name);
      if (bytes === undefined) throw new TypeError(`There is no blob ${name}`);
      use(name);
      return bytes;
    };
    return {
      has: ({ sha256: name }) => whole.has(name),
      read,
      async *chunks(blob, offset) {
        const bytes = read(blob);
        for (let at = offset; at < bytes.length; at += CHUNK_BYTES)
          yield bytes.subarray(at, at + CHUNK_BYTES);
      },
      write(fill) {
        const pieces: Uint8Array[] = [];
        fill((bytes) => pieces.push(bytes));
        return put(pieces);
      },
      receive: async (blob) => receiveInMemory(blob, (bytes) => put([bytes])),
      prune(needed) {
        for (const [name, all] of users) {
          if (needed.has(name) || !all.delete(self) || all.size > 0) continue;
          users.delete(name);
          whole.delete(name);
        }
      },
    };
  };
}
