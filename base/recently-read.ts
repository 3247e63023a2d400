/**
 * What was made of the bytes that were read last: the clients of a round mostly send the same ones, so that a hundred of
 * them are read once and take no more memory than one.
 */
export class RecentlyRead<T> {
  readonly #room: number;
  /** Newest first. */
  readonly #known: { readonly bytes: Uint8Array; readonly key: string | number; readonly made: T }[] = [];

  /** @param room how many are kept */
  constructor(room: number) {
    this.#room = room;
  }

  /** @param key what the reading depends on beside the bytes, which are copied; a reading that throws is not kept */
  of(bytes: Uint8Array, key: string | number, read: () => T): T {
    const same = this.#known.find((one) => one.key === key && Buffer.compare(one.bytes, bytes) === 0);
    if (same !== undefined) return same.made;
    const made = read();
    this.#known.unshift({ bytes: bytes.slice(), key, made });
    this.#known.length = Math.min(this.#known.length, this.#room);
    return made;
  }
}
