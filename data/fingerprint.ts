/**
 * What a list of examples is, as one hash: equal examples in equal order, with equal pictures and sounds, give an equal
 * fingerprint, on any machine. Order counts, since training follows it.
 *
 *   fingerprint = H("fedloom examples 1" ‖ count ‖ e_1 ‖ ... ‖ e_n)
 *   e_i         = SHA-256(canonical JSON of the words ‖ SHA-256 of each picture ‖ SHA-256 of each sound)
 *
 * H is SHA-256, or HMAC-SHA-256 where a key is given. Without the key nobody can try whether a guess at the examples is
 * right: to them a keyed fingerprint is a random number that changes when the data does.
 */
import { createHash, createHmac } from "node:crypto";
import { canonicalJson, sha256 } from "../base/hash.ts";
import type { Example, Media } from "./example.ts";

const FORM = "fedloom examples 1";

export interface FingerprintOptions {
  /** 32 bytes; whoever has them can test guesses. */
  readonly key?: Uint8Array;
  readonly signal?: AbortSignal;
  /** Called behind each example with how many are done. */
  onProgress?(done: number): void;
}

/**
 * Reads every picture and sound once, one after another.
 *
 * @returns 64 lower-case hexadecimal digits
 * @throws FedloomError F2003 for a medium that cannot be read; the signal's reason once it aborts
 */
export async function fingerprintOf(
  examples: readonly Example[],
  { key, signal, onProgress }: FingerprintOptions = {},
): Promise<string> {
  const hash = key === undefined ? createHash("sha256") : createHmac("sha256", key);
  hash.update(`${FORM} ${examples.length} `);
  for (const [i, example] of examples.entries()) {
    signal?.throwIfAborted();
    hash.update(await hashOfExample(example));
    onProgress?.(i + 1);
  }
  return hash.digest("hex");
}

async function hashOfExample({
  id,
  turns,
  images,
  audios,
  label,
  options,
  fields,
}: Example): Promise<string> {
  const words = canonicalJson({ id, turns, label, options, fields });
  return sha256([words, await hashesOf(images), await hashesOf(audios)].join("\n"));
}

async function hashesOf(media: readonly Media[]): Promise<string> {
  const hashes: string[] = [];
  for (const medium of media) hashes.push(sha256(await medium.read()));
  return hashes.join(" ");
}
