/**
 * Personal tensors: what a strategy leaves with each client (its own head, its own B). They never travel.
 *
 * They are kept by run and round: a task of round t starts from those of the latest round before t, so that a
 * task that was cut off and is trained again gives the same bits.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { layoutOf, readSafetensors, saveSafetensors } from "../adapters/safetensors.ts";
import { type TensorSet, tensorSet } from "../adapters/tensor.ts";
import { sha256 } from "../base/hash.ts";

export interface PersonalTensors {
  /** Those of the latest round before `round`; undefined where the client has none yet. */
  before(run: string, round: number): TensorSet | undefined;
  /** Stores those of `round`; a crash leaves the former ones or these. */
  save(run: string, round: number, tensors: TensorSet): void;
}

/** A round that is trained again needs those of the round before it; older ones nobody asks for. */
const ROUNDS_KEPT = 2;

export function openDiskPersonal(directory: string): PersonalTensors {
  // A run's id is text of the coordinator's: hashed, it cannot name a file elsewhere.
  const folderOf = (run: string): string => join(directory, sha256(run).slice(0, 32));
  const roundsOf = (folder: string): number[] =>
    existsSync(folder)
      ? readdirSync(folder)
          .flatMap((name) => /^(\d+)\.safetensors$/.exec(name)?.[1] ?? [])
          .map(Number)
          .sort((a, b) => a - b)
      : [];
  return {
    before(run, round) {
      const folder = folderOf(run);
      const latest = roundsOf(folder).findLast((kept) => kept < round);
      if (latest === undefined) return undefined;
      const path = join(folder, `${latest}.safetensors`);
      return readSafetensors(readFileSync(path), path);
    },
    save(run, round, tensors) {
      const folder = folderOf(run);
      mkdirSync(folder, { recursive: true });
      saveSafetensors(join(folder, `${round}.safetensors`), layoutOf(tensors), (name) => tensors.get(name)!);
      for (const old of roundsOf(folder).slice(0, -ROUNDS_KEPT)) rmSync(join(folder, `${old}.safetensors`));
    },
  };
}

export function createMemoryPersonal(): PersonalTensors {
  const runs = new Map<string, Map<number, TensorSet>>();
  return {
    before(run, round) {
      const rounds = runs.get(run) ?? new Map<number, TensorSet>();
      const latest = [...rounds.keys()]
        .filter((kept) => kept < round)
        .sort((a, b) => a - b)
        .at(-1);
      return latest === undefined ? undefined : rounds.get(latest);
    },
    save(run, round, tensors) {
      const rounds = runs.get(run) ?? new Map<number, TensorSet>();
      rounds.set(round, tensors);
      for (const old of [...rounds.keys()].sort((a, b) => a - b).slice(0, -ROUNDS_KEPT)) rounds.delete(old);
      runs.set(run, rounds);
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
