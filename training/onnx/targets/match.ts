/**
 * Which module of a graph a path of an adapter means. Exporters drop wrapper modules from node names, and
 * the Python library renamed modules between releases, so paths are compared in a common form: the part
 * from the numbered layer on, with one word for each role.
 */
import type { LinearModule } from "../engine.ts";
import { belongsTo, type Reads } from "./reads.ts";
import { HEADS, rolesOf } from "./roles.ts";
import { LEFT_OVER } from "./structure.ts";

/** Number of the layer, and what stands behind it. */
export const LAYER = /(?:^|\.)(?:encoder\.|decoder\.)?(?:layers|layer|blocks|block|h)\.(\d+)\.(.+)$/;

/** Last names of embeddings and norms, which stand outside of the blocks as a head does. */
const NOT_LINEAR = /(?:^|\.)(?:embed[a-z_]*|w[tp]e|[a-z_]*norm|ln_[a-z]+)$/i;

interface Place {
  readonly layer: string;
  /** The likeliest first. */
  readonly roles: readonly string[];
}

/** Layer and roles; undefined where there is no numbered layer. */
function placeOf(path: string): Place | undefined {
  const layer = LAYER.exec(path);
  return layer === null ? undefined : { layer: layer[1]!, roles: rolesOf(layer[2]!) };
}

/** The module that `path` means, or undefined. Exact names win, then the common form. */
export function matchModule(
  path: string,
  modules: readonly LinearModule[],
  reads: Reads,
): LinearModule | undefined {
  const exact = modules.find((module) => module.path === path);
  if (exact !== undefined) return exact;
  if (!belongsTo(path, reads)) return undefined;
  return (
    closest(path, [...modules, ...packedWholes(modules)]) ??
    ofMethod(path, modules) ??
    leftOver(path, modules)
  );
}

/**
 * The module that each path means. Where several paths would have the same, it is the closest one's: a graph that lacks a tower
 * has layers of the same number and role as the tower's.
 */
export function matchModules(
  paths: readonly string[],
  modules: readonly LinearModule[],
  reads: Reads,
): ReadonlyMap<string, LinearModule> {
  const found = new Map<string, LinearModule>();
  for (const path of new Set(paths)) {
    const module = matchModule(path, modules, reads);
    if (module === undefined) continue;
    const rival = [...found].find(([, other]) => overlaps(module, other));
    if (rival !== undefined && closeness(rival) >= closeness([path, module])) continue;
    if (rival !== undefined) found.delete(rival[0]);
    found.set(path, module);
  }
  return found;
}

const closeness = ([path, module]: readonly [string, LinearModule]): number => commonEnd(module.path, path);

/** Whether two modules are the same columns of a product, in part at least. */
function overlaps(a: LinearModule, b: LinearModule): boolean {
  const [from, to] = a.columns ?? [0, a.nodeOut];
  const [start, end] = b.columns ?? [0, b.nodeOut];
  return a.node === b.node && from < end && start < to;
}

/**
 * A module that its parent calls from a method of its own stands in the graph without the parent's name: Gemma 3n's
 * "altup.modality_router" is "modality_router" of the layer. So its last name counts, where it is no word for a role and the
 * layer has it once (twins.ts knows further calls).
 */
function ofMethod(path: string, modules: readonly LinearModule[]): LinearModule | undefined {
  const wanted = LAYER.exec(path);
  if (wanted === null) return undefined;
  const name = wanted[2]!.split(".").at(-1)!;
  if (rolesOf(name)[0] !== name) return undefined;
  return modules.find((module) => {
    const own = LAYER.exec(module.path);
    return own !== null && own[1] === wanted[1] && own[2] === name;
  });
}

/**
 * Behind the last block stand a connector, a pooler or a head, which the structure cannot name. One that gives the
 * output is known by its name, of two others a number at the end tells the first from the second ("linear_1" and
 * "linear_2", "mlp.0" and "mlp.2").
 */
function leftOver(path: string, modules: readonly LinearModule[]): LinearModule | undefined {
  if (LAYER.test(path) || (NOT_LINEAR.test(path) && !HEADS.test(path))) return undefined;
  const left = modules.filter((module) => module.path.startsWith(LEFT_OVER));
  if (HEADS.test(path)) return left.at(-1);
  if (left.length === 1) return left[0];
  const number = /(\d+)(?:\.[a-z_]+)?$/i.exec(path)?.[1] ?? 0;
  return left.length === 2 ? left[Number(number) < 2 ? 0 : 1] : undefined;
}

/** An adapter of a model that has the packed projection itself, such as Phi-3, has one pair for all of it. */
function packedWholes(modules: readonly LinearModule[]): readonly LinearModule[] {
  return modules.flatMap(({ packed, columns, ...rest }): LinearModule[] =>
    packed !== undefined && columns?.[0] === 0 ? [{ ...rest, path: packed, out: rest.nodeOut }] : [],
  );
}

function closest(path: string, modules: readonly LinearModule[]): LinearModule | undefined {
  const wanted = placeOf(path);
  const matches = modules.flatMap((module): { module: LinearModule; doubt: number }[] => {
    const own = placeOf(module.path);
    if (wanted === undefined || own === undefined) {
      const same = wanted === own && (isSuffix(module.path, path) || isSuffix(path, module.path));
      return same ? [{ module, doubt: 0 }] : [];
    }
    const doubt = own.layer === wanted.layer ? doubtBetween(own.roles, wanted.roles) : Infinity;
    return doubt < Infinity ? [{ module, doubt }] : [];
  });
  // Several towers in one graph: the one with the longest common end is meant.
  matches.sort(
    (a, b) => a.doubt - b.doubt || commonEnd(b.module.path, path) - commonEnd(a.module.path, path),
  );
  return matches[0]?.module;
}

/** 0 where both most likely mean the same role, more the less likely; Infinity where they cannot. */
function doubtBetween(a: readonly string[], b: readonly string[]): number {
  const sums = a.flatMap((role, i) => (b.includes(role) ? [i + b.indexOf(role)] : []));
  return Math.min(Infinity, ...sums);
}

function isSuffix(short: string, long: string): boolean {
  return long === short || long.endsWith(`.${short}`);
}

function commonEnd(a: string, b: string): number {
  const [x, y] = [a.split(".").reverse(), b.split(".").reverse()];
  const different = x.findIndex((part, i) => part !== y[i]);
  return different < 0 ? x.length : different;
}
