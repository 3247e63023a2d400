/**
 * The blobs of all clients of a fleet, on one shelf: what one has fetched, or the coordinator holds on the same shelf,
 * the others have too, so that an adapter lies there once however many clients train from it.
 */
import { type BlobName, type ClientBlobs, receiveInMemory } from "../../client/blobs.ts";
import type { Shelf } from "../../server/blobs/shelf.ts";

/**
 * @param shelf one that the coordinator's blobs lie on is the coordinator's to clear
 * @returns makes the blobs of one client
 */
export function sharedBlobs(
  shelf: Shelf,
  { clearedByCoordinator }: { readonly clearedByCoordinator: boolean },
): () => ClientBlobs {
  /** Clients that use a blob; without any it goes. */
  const users = new Map<string, Set<object>>();
  return () => {
    const self = {};
    const use = (name: BlobName): BlobName => {
      if (clearedByCoordinator) return name;
      const all = users.get(name.sha256) ?? new Set();
      users.set(name.sha256, all.add(self));
      return name;
    };
    return {
      has: ({ sha256 }) => shelf.size(sha256) !== undefined,
      read: (blob) => shelf.bytes(use(blob).sha256),
      async *chunks(blob, offset) {
        yield* shelf.chunks(use(blob).sha256, offset);
      },
      async write(fill) {
        const pieces: Uint8Array[] = [];
        fill((bytes) => pieces.push(bytes));
        return use(await shelf.store(pieces));
      },
      receive: async (blob) => receiveInMemory(blob, (bytes) => void use(shelf.keep(bytes))),
      prune(needed) {
        for (const [name, all] of users) {
          if (needed.has(name) || !all.delete(self) || all.size > 0) continue;
          users.delete(name);
          shelf.delete(name);
        }
      },
    };
  };
}
