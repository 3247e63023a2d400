/** What a schema has against a configuration, in sentences that name the place, the value and the remedy. */
import { z } from "zod";
import type { ConfigDocument, KeyPath } from "./config-document.ts";
import { nearest } from "./nearest.ts";

type Issue = z.core.$ZodIssue;

/** What was read; `where` says nothing where places have no names, as in a request. */
export type Placed = Pick<ConfigDocument, "data" | "where">;

/** @param at where in the document `schema` was applied */
export function problemsOf(
  issues: readonly Issue[],
  document: Placed,
  schema: z.core.$ZodType,
  at: KeyPath,
): string[] {
  const placed = (place: string, what: string): string => (place === "" ? what : `${place}: ${what}`);
  return issues.flatMap((issue) => {
    const inside = keyPath(issue.path);
    const path = [...at, ...inside];
    if (issue.code === "unrecognized_keys") {
      const known = knownKeys(schema, inside, valueAt(document.data, path));
      return issue.keys.map((key) => {
        const place = document.where([...path, key], "key");
        return placed(place, `unknown key "${key}"${within(path)}: ${remedy(key, known)}`);
      });
    }
    return [placed(document.where(path), sentence(issue, path, valueAt(document.data, path)))];
  });
}

function sentence(issue: Issue, path: KeyPath, value: unknown): string {
  const what = path.length === 0 ? "it" : `"${path.join(".")}"`;
  if (value === undefined && (issue.code === "invalid_type" || issue.code === "invalid_value")) {
    return `missing key "${path.at(-1)}"${within(path.slice(0, -1))}: it must be ${wanted(issue) ?? "given"}`;
  }
  if (issue.code === "invalid_union" && issue.errors.length === 0)
    return `${what} ${oneOf(unionOptions(issue), value)}`;
  if (issue.code === "invalid_value") return `${what} ${oneOf(issue.values.map(String), value)}`;
  const form = wanted(issue);
  if (form === undefined) return `${what}: ${issue.message}`;
  return `${what} must be ${form}, got ${shown(value)}`;
}

/** What would have been right, to follow "must be"; undefined where only the schema's own message says it. */
function wanted(issue: Issue): string | undefined {
  switch (issue.code) {
    case "invalid_type":
      return TYPE_NAMES[issue.expected] ?? `a ${issue.expected}`;
    case "invalid_value":
      return `${issue.values.length > 1 ? "one of " : ""}${issue.values.map((value) => JSON.stringify(value)).join(", ")}`;
    case "too_small":
      return bound(issue.origin, issue.inclusive ? "at least" : "above", issue.minimum);
    case "too_big":
      return bound(issue.origin, issue.inclusive ? "at most" : "below", issue.maximum);
    case "invalid_union": {
      const forms = issue.errors.map((errors) => (errors.length === 1 ? wanted(errors[0]!) : undefined));
      return forms.length > 0 && forms.every((form) => form !== undefined)
        ? [...new Set(forms)].join(" or ")
        : undefined;
    }
    case "invalid_format":
      return issue.format === "regex"
        ? `text of the form ${issue.pattern}`
        : `text of the form "${issue.format}"`;
    case "not_multiple_of":
      return `a multiple of ${issue.divisor}`;
    default:
      return undefined;
  }
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  object: "a map",
  record: "a map",
  array: "a list",
  tuple: "a list",
};

function bound(origin: string, words: string, limit: number | bigint): string {
  if (origin === "array") return `a list of ${words} ${limit} item${limit === 1 ? "" : "s"}`;
  if (origin === "string")
    return limit === 1 && words === "at least"
      ? "text that is not empty"
      : `text of ${words} ${limit} characters`;
  return `${words} ${limit}`;
}

function oneOf(options: readonly string[], value: unknown): string {
  const near = typeof value === "string" ? nearest(value, options) : undefined;
  const meant = near === undefined ? "" : `; did you mean "${near}"?`;
  return `must be one of ${options.map((option) => `"${option}"`).join(", ")}, got ${shown(value)}${meant}`;
}

function unionOptions(issue: Issue): string[] {
  const options: unknown = "options" in issue ? issue.options : [];
  return Array.isArray(options) ? options.map(String) : [];
}

function remedy(key: string, known: readonly string[]): string {
  const near = nearest(key, known);
  if (near !== undefined) return `did you mean "${near}"?`;
  return known.length === 0 ? "no key is known here" : `known keys are ${[...known].sort().join(", ")}`;
}

function within(path: KeyPath): string {
  return path.length === 0 ? "" : ` in "${path.join(".")}"`;
}

/** A value as a message may show it: short, and never what stands inside a map or list. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value instanceof Date) return `the date ${value.toISOString()}`;
  if (typeof value === "object" && value !== null) return "a map";
  if (typeof value === "string" && value.length > 60) return `${JSON.stringify(value.slice(0, 60))}...`;
  return value === undefined ? "nothing" : JSON.stringify(value);
}

function valueAt(data: unknown, path: KeyPath): unknown {
  return path.reduce<unknown>(
    // A cast to read one member of a value already known to be an object.
    (value, key) =>
      typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined,
    data,
  );
}

function keyPath(path: readonly PropertyKey[]): (string | number)[] {
  return path.map((key) => (typeof key === "symbol" ? String(key) : key));
}

/** Keys that the schema knows at a path; of a union, those of all its members, or of the one that the value there is. */
function knownKeys(schema: z.core.$ZodType, path: KeyPath, value: unknown): string[] {
  const [key, ...rest] = path;
  if (schema instanceof z.ZodObject) {
    if (key === undefined) return Object.keys(schema.shape);
    const member: unknown = schema.shape[key];
    return member instanceof z.ZodType ? knownKeys(member, rest, value) : [];
  }
  if (schema instanceof z.ZodDiscriminatedUnion && key === undefined) {
    const { discriminator } = schema.def;
    const kind = z.looseObject({ [discriminator]: z.unknown() }).safeParse(value).data?.[discriminator];
    return schema.options
      .filter((option) => option instanceof z.ZodObject && takes(option.shape[discriminator], kind))
      .flatMap((option) => knownKeys(option, path, value));
  }
  if (schema instanceof z.ZodUnion)
    return [...new Set(schema.options.flatMap((option) => knownKeys(option, path, value)))];
  if (schema instanceof z.ZodArray) return key === undefined ? [] : knownKeys(schema.element, rest, value);
  if (schema instanceof z.ZodRecord) return key === undefined ? [] : knownKeys(schema.valueType, rest, value);
  if (schema instanceof z.ZodPipe) return knownKeys(schema.in, path, value);
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault)
    return knownKeys(schema.unwrap(), path, value);
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable)
    return knownKeys(schema.unwrap(), path, value);
  return [];
}

function takes(schema: unknown, value: unknown): boolean {
  return schema instanceof z.ZodType && schema.safeParse(value).success;
}
