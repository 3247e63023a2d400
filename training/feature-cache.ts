/**
 * What frozen encoders computed, by the hash of what they saw. The newest stay in memory up to a bound, all go
 * to a temporary folder, so that no picture or sound is encoded twice however many there are.
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

/** @param limitBytes of features in memory; the folder is made when the first one has to leave it */
export function createFeatureCache(limitBytes = DEFAULT_LIMIT_BYTES): FeatureCache {
  // A Map keeps the order of insertion: the first is the one that was used longest ago.
  const held = new Map<string, Float32Array>();
  const spilled = new Set<string>();
  let bytes = 0;
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
      if (spilled.has(key)) continue;
      spilled.add(key);
      folder ??= mkdtemp(join(tmpdir(), "fedloom-features-"));
      await writeFile(join(await folder, key), features);
    }
  };
  return {
    async get(key) {
      const there = held.get(key);
      if (there !== undefined) {
        hold(key, there);
        return there;
      }
      if (!spilled.has(key) || folder === undefined) return undefined;
      const file = await readFile(join(await folder, key));
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
      bytes = 0;
      if (folder !== undefined) await rm(await folder, { recursive: true, force: true });
      folder = undefined;
    },
  };
}
