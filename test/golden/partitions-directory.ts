/** The reference folder: where it is, and its files parsed. GOLDEN_PARTITIONS names another one in the same layout. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";

export const GOLDEN = process.env.GOLDEN_PARTITIONS ?? join(import.meta.dirname, "partitions");

/** Names in a folder of the reference that fit, sorted; none where the folder is absent. */
export function goldenNames(folder: string, fits: RegExp): string[] {
  const path = join(GOLDEN, folder);
  return existsSync(path)
    ? readdirSync(path)
        .filter((name) => fits.test(name))
        .sort()
    : [];
}

/** A JSON file, unpacked where its name ends in .gz. The caller states its shape; tests fail where it differs. */
export function golden<T>(folder: string, name: string): T {
  const bytes = readFileSync(join(GOLDEN, folder, name));
  return JSON.parse((name.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString("utf8")) as T;
}

/** Like `golden`, or undefined where there is no such file, packed or not. */
export function goldenOptional<T>(folder: string, name: string): T | undefined {
  for (const file of [name, `${name}.gz`]) {
    if (existsSync(join(GOLDEN, folder, file))) return golden<T>(folder, file);
  }
  return undefined;
}

/** How many of each kind were compared; printed at the end, and checked to be more than none. */
export const compared = new Map<string, number>();

export function count(kind: string, by = 1): void {
  compared.set(kind, (compared.get(kind) ?? 0) + by);
}
