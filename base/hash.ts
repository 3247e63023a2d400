/** SHA-256, the one hash of the project: names of blobs, seeds, hashes of configurations. */
import crypto from "node:crypto";

/** Node's hash takes less than 2 GiB at once. */
const PART_BYTES = 2 ** 30;

/**
 * @param pieces of what is hashed, one after the other
 * @returns 64 lower-case hexadecimal digits
 */
export function sha256(...pieces: readonly (Uint8Array | string)[]): string {
  const [only] = pieces;
  // In one call a short text takes half the time; Node has it from 20.12 on.
  if (pieces.length === 1 && only!.length <= PART_BYTES && "hash" in crypto)
    return crypto.hash("sha256", only!, "hex");
  const hash = crypto.createHash("sha256");
  for (const piece of pieces) {
    if (typeof piece === "string") hash.update(piece);
    else {
      for (let at = 0; at < piece.length; at += PART_BYTES) hash.update(piece.subarray(at, at + PART_BYTES));
    }
  }
  return hash.digest("hex");
}

export const SHA256_HEX = /^[0-9a-f]{64}$/;

/**
 * JSON with keys in code-unit order and no blanks, so that equal values have equal bytes.
 *
 * Numbers print as ECMAScript prints them (RFC 8785 takes the same form); `undefined` members are left out.
 *
 * @throws TypeError for values that JSON cannot hold: non-finite numbers, bigint, functions
 */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === "boolean" || typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number") {
    if (!Number.isFinite(value))
      throw new TypeError(`Canonical JSON holds finite numbers only, got ${value}`);
    return JSON.stringify(value);
  }
  // Built up, not mapped and joined: each task's options and each seed come by here.
  let text = "";
  const add = (more: string): void => {
    text += text === "" ? more : `,${more}`;
  };
  if (Array.isArray(value)) {
    for (const item of value) add(canonicalJson(item ?? null));
    return `[${text}]`;
  }
  if (typeof value === "object") {
    for (const key of Object.keys(value).sort()) {
      const member = value[key as keyof typeof value]; // as: it is one of its keys
      if (member !== undefined) add(`${JSON.stringify(key)}:${canonicalJson(member)}`);
    }
    return `{${text}}`;
  }
  throw new TypeError(`Canonical JSON cannot hold a ${typeof value}`);
}
