/**
 * Tensors that never travel: personal ones, which a strategy leaves with each client, the memory of a codec, which
 * is what it has not sent yet, and an optimizer's state, where the run keeps it.
 *
 * They are kept by run and round: a task of round t starts from those of the latest round before t, so that a
 * task that was cut off and is trained again gives the same bits.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { layoutOf, readSafetensors, saveSafetensors } from "../adapters/safetensors.ts";
import { type TensorSet, tensorSet } from "../adapters/tensor.ts";
import { sha256 } from "../base/hash.ts";

export type LocalKind = "personal" | "codec-memory" | "optimizer";

export interface LocalTensors {
  /** Those of the latest round before `round`; undefined where the client has none yet. */
  before(kind: LocalKind, run: string, round: number): TensorSet | undefined;
  /** Stores those of `round`; a crash leaves the former ones or these. */
  save(kind: LocalKind, run: string, round: number, tensors: TensorSet): void;
}

/** A round that is trained again needs those of the round before it; older ones nobody asks for. */
const ROUNDS_KEPT = 2;

export function openDiskTensors(directory: string): LocalTensors {
  // A run's id is text of the coordinator's: hashed, it cannot name a file elsewhere.
  const folderOf = (kind: LocalKind, run: string): string => join(directory, sha256(run).slice(0, 32), kind);
  const roundsOf = (folder: string): number[] =>
    existsSync(folder)
      ? readdirSync(folder)
          .flatMap((name) => /^(\d+)\.safetensors$/.exec(name)?.[1] ?? [])
          .map(Number)
          .sort((a, b) => a - b)
      : [];
  return {
    before(kind, run, round) {
      const folder = folderOf(kind, run);
      const latest = roundsOf(folder).findLast((kept) => kept < round);
      if (latest === undefined) return undefined;
      const path = join(folder, `${latest}.safetensors`);
      return readSafetensors(readFileSync(path), path);
    },
    save(kind, run, round, tensors) {
      const folder = folderOf(kind, run);
      mkdirSync(folder, { recursive: true });
      saveSafetensors(join(folder, `${round}.safetensors`), layoutOf(tensors), (name) => tensors.get(name)!);
      for (const old of roundsOf(folder).slice(0, -ROUNDS_KEPT)) rmSync(join(folder, `${old}.safetensors`));
    },
  };
}

export function createMemoryTensors(): LocalTensors {
  const runs = new Map<string, Map<number, TensorSet>>();
  const ascending = (rounds: ReadonlyMap<number, TensorSet>): number[] =>
    [...rounds.keys()].sort((a, b) => a - b);
  return {
    before(kind, run, round) {
      const rounds = runs.get(`${kind} ${run}`);
      if (rounds === undefined) return undefined; // mostly, and a fleet asks for each client
      const latest = ascending(rounds).findLast((kept) => kept < round);
      return latest === undefined ? undefined : rounds.get(latest);
    },
    save(kind, run, round, tensors) {
      const key = `${kind} ${run}`;
      const rounds = runs.get(key) ?? new Map<number, TensorSet>();
      runs.set(key, rounds.set(round, tensors));
      for (const old of ascending(rounds).slice(0, -ROUNDS_KEPT)) rounds.delete(old);
    },
  };
}

/** Splits a tensor set into what travels and what stays, by a regular expression over names; without one all travels. */
export function splitTravelling(
  tensors: TensorSet,
  travels: string | undefined,
): { readonly travelling: TensorSet; readonly staying: TensorSet } {
  if (travels === undefined) return { travelling: tensors, staying: new Map() };
  const pattern = new RegExp(travels);
  const entries = [...tensors];
  return {
    travelling: tensorSet(entries.filter(([name]) => pattern.test(name))),
    staying: tensorSet(entries.filter(([name]) => !pattern.test(name))),
  };
}

/** `tensors` with those of `personal` in the place of the same names. */
export function withPersonal(tensors: TensorSet, personal: TensorSet | undefined): TensorSet {
  if (personal === undefined) return tensors;
  return tensorSet([...tensors].map(([name, tensor]) => [name, personal.get(name) ?? tensor]));
}
