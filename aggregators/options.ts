/** Options of strategies and wrappers: what was asked for, checked against the schema, in words. */
import type { z } from "zod";
import type { ConfigDocument, KeyPath } from "../base/config-document.ts";
import { problemsOf } from "../base/config-problems.ts";
import { FedloomError } from "../base/errors.ts";
import { nearest } from "../base/nearest.ts";

export type Kind = "strategy" | "wrapper";

export interface Optioned<Config extends z.ZodObject = z.ZodObject> {
  readonly name: string;
  readonly config: Config;
  readonly presets?: Readonly<Record<string, z.input<Config>>>;
}

/** `{name, preset?, ...options}`, as a run file has it. */
export interface Spec {
  readonly name: string;
  readonly preset?: string | undefined;
  readonly [option: string]: unknown;
}

/** Where a spec is written, so that messages give line and column. */
export interface Place {
  readonly document: ConfigDocument;
  readonly at: KeyPath;
}

/** @throws FedloomError F3110 with the known names */
export function findDefinition<T extends { readonly name: string }>(
  kind: Kind,
  name: string,
  known: readonly T[],
  place?: Place,
): T {
  const found = known.find((definition) => definition.name === name);
  if (found !== undefined) return found;
  const names = known.map((definition) => definition.name);
  throw unknownName(`Cannot use ${kind} "${name}"`, name, names, place);
}

/**
 * The full configuration of a spec: preset first, options over it, defaults for the rest.
 *
 * @throws FedloomError F3110 for an unknown preset, F3111 with every problem of the options
 */
export function resolveOptions<Config extends z.ZodObject>(
  kind: Kind,
  definition: Optioned<Config>,
  spec: Spec,
  place?: Place,
): z.output<Config> {
  const { name, preset, ...options } = spec;
  const presets = definition.presets ?? {};
  if (preset !== undefined && !Object.hasOwn(presets, preset)) {
    throw unknownName(
      `Cannot use preset "${preset}" of ${kind} "${name}"`,
      preset,
      Object.keys(presets),
      place,
    );
  }
  const data = { ...(preset !== undefined && presets[preset]), ...options };
  const parsed = definition.config.safeParse(data);
  if (parsed.success) return parsed.data;
  const unplaced: ConfigDocument = { name, data, where: () => `${kind} "${name}"` };
  const problems = problemsOf(
    parsed.error.issues,
    place === undefined ? unplaced : place.document,
    definition.config,
    place?.at ?? [],
  );
  throw new FedloomError("F3111", problems.join("\n"), { kind, name, problems });
}

function unknownName(what: string, name: string, known: readonly string[], place?: Place): FedloomError {
  const near = nearest(name, known);
  const remedy =
    near === undefined
      ? known.length === 0
        ? "none is known"
        : `known are ${known.join(", ")}`
      : `did you mean "${near}"?`;
  const where = place === undefined ? "" : `${place.document.where(place.at)}: `;
  return new FedloomError("F3110", `${where}${what}: ${remedy}`, { name, known });
}
