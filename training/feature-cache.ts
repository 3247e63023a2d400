/**
 * What frozen weights computed, by the hash of what they saw: features of encoders, and what frozen layers hand to the
 * lowest trained one. The newest stay in memory up to a bound, all go to a temporary folder, so that nothing is
 * computed twice however much there is; where the folder is bounded too, what finds no room in it is forgotten.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FedloomError, messageOf } from "../base/errors.ts";

export interface FeatureCache {
  get(key: string): Promise<Float32Array | undefined>;
  put(key: string, features: Float32Array): Promise<void>;
  close(): Promise<void>;
}

/** 256 MiB: the features of about 1800 pictures of SmolVLM-256M (64 tokens of 576). */
const DEFAULT_LIMIT_BYTES = 256 * 2 ** 20;

/**
 * @param limitBytes of features in memory; the folder is made when the first one has to leave it
 * @param diskBytes of features in the folder; without a bound a full disk is an error (F2140)
 */
export function createFeatureCache(
  limitBytes = DEFAULT_LIMIT_BYTES,
  diskBytes = Number.POSITIVE_INFINITY,
): FeatureCache {
  // A Map keeps the order of insertion: the first is the one that was used longest ago.
  const held = new Map<string, Float32Array>();
  /** Names of files in the folder. */
  const spilled = new Map<string, string>();
  let bytes = 0;
  let spilledBytes = 0;
  let files = 0;
  let folder: Promise<string> | undefined;

  const hold = (key: string, features: Float32Array): void => {
    held.delete(key);
    held.set(key, features);
  };
  const makeRoom = async (): Promise<void> => {
    for (const [key, features] of held) {
      if (bytes <= limitBytes || held.size === 1) return;
      held.delete(key);
      bytes -= features.byteLength;
      if (spilled.has(key) || spilledBytes + features.byteLength > diskBytes) continue;
      const name = String(files++);
      spilledBytes += features.byteLength;
      folder ??= mkdtemp(join(tmpdir(), "fedloom-features-"));
      try {
        await writeFile(join(await folder, name), features);
      } catch (cause) {
        if (diskBytes === Number.POSITIVE_INFINITY) throw cause;
        // The disk has less room than it was thought to have, and who set a bound can do without.
        spilledBytes = Number.POSITIVE_INFINITY;
        continue;
      }
      spilled.set(key, name);
    }
  };
  return {
    async get(key) {
      const there = held.get(key);
      if (there !== undefined) {
        hold(key, there);
        return there;
      }
      const name = spilled.get(key);
      if (name === undefined || folder === undefined) return undefined;
      const file = await readFile(join(await folder, name));
      const features = new Float32Array(
        file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength),
      );
      hold(key, features);
      bytes += features.byteLength;
      await makeRoom();
      return features;
    },
    async put(key, features) {
      if (held.has(key) || spilled.has(key)) return;
      hold(key, features);
      bytes += features.byteLength;
      try {
        await makeRoom();
      } catch (cause) {
        throw new FedloomError(
          "F2140",
          `Cannot keep features in "${tmpdir()}": ${messageOf(cause)}`,
          {},
          { cause },
        );
      }
    },
    async close() {
      held.clear();
      spilled.clear();
      [bytes, spilledBytes] = [0, 0];
      if (folder !== undefined) await rm(await folder, { recursive: true, force: true });
      folder = undefined;
    },
  };
}
