/**
 * A YAML file as plain data that still knows at which line and column each value stands, so that whoever
 * checks it, now or later, can point at the place. Nothing is read from the environment.
 */
import { isMap, isNode, isPair, isScalar, isSeq, LineCounter, type Pair, parse, parseDocument } from "yaml";
import { FedloomError } from "./errors.ts";

export type KeyPath = readonly (string | number)[];

export interface ConfigDocument {
  /** What a message calls it: the path as the user wrote it. */
  readonly name: string;
  readonly data: unknown;
  /**
   * `run.yaml:12:5` of a value, or of its key; `--set a.b` where the value came from the command line.
   * What is not written down stands where its nearest written parent stands.
   */
  where(path: KeyPath, part?: "key" | "value"): string;
}

/**
 * @param name what messages call the file
 * @param overrides `key.path=value` each, the value in YAML; later ones win
 * @throws FedloomError F1001 with every problem of syntax, duplicate keys among them
 */
export function parseConfig(name: string, text: string, overrides: readonly string[] = []): ConfigDocument {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${name}:${line}:${col}`;
  };
  const problems = document.errors.map((error) => {
    const message = error.code === "DUPLICATE_KEY" ? duplicateKey(text, error.pos[0]) : error.message;
    return `${at(error.pos[0])}: ${lowerFirst(message)}`;
  });
  if (problems.length > 0) throw configError(problems);

  const fromFile: unknown = document.toJS();
  const set = overrides.map((override) => parseOverride(override));
  const data = set.reduce<unknown>((whole, { path, value }) => withValue(whole, path, value), fromFile ?? {});

  return {
    name,
    data,
    where(path, part = "value") {
      const overridden = set.findLast((override) => startsWith(path, override.path));
      if (overridden !== undefined) return `--set ${overridden.path.join(".")}`;
      let node: unknown = document.contents;
      let position = isNode(node) && node.range ? node.range[0] : 0;
      for (const [depth, key] of path.entries()) {
        const pair: Pair | undefined = isMap(node)
          ? node.items.find((item) => keyOf(item) === String(key))
          : undefined;
        const inner: unknown = isSeq(node) ? node.items[Number(key)] : pair?.value;
        if (pair === undefined && inner === undefined) break;
        const wanted = depth === path.length - 1 && part === "key" && pair ? pair.key : (inner ?? pair?.key);
        if (isNode(wanted) && wanted.range) position = wanted.range[0];
        node = inner;
      }
      return at(position);
    },
  };
}

/** One error for all problems of a configuration, each already `file:line:column: what is wrong`. */
export function configError(problems: readonly string[]): FedloomError {
  const more = problems.length - MAX_SHOWN;
  const shown = more > 0 ? [...problems.slice(0, MAX_SHOWN), `and ${more} more`] : problems;
  return new FedloomError("F1001", shown.join("\n"), { problems });
}

/** A file that is no YAML at all has a problem a line; the first ones tell enough. */
const MAX_SHOWN = 12;

function keyOf(pair: unknown): string | undefined {
  return isPair(pair) && isScalar(pair.key) ? String(pair.key.value) : undefined;
}

function duplicateKey(text: string, offset: number): string {
  const key = /^["']?([^\s:"']+)/.exec(text.slice(offset))?.[1];
  return key === undefined
    ? "a key is given twice in the same map"
    : `key "${key}" is given twice in the same map`;
}

function lowerFirst(message: string): string {
  return message.charAt(0).toLowerCase() + message.slice(1);
}

function parseOverride(override: string): { path: (string | number)[]; value: unknown } {
  const equals = override.indexOf("=");
  const path = override.slice(0, equals).trim();
  if (equals < 1 || path.split(".").includes("")) {
    throw configError([
      `--set ${override}: must have the form key.path=value, such as training.learning_rate=2e-5`,
    ]);
  }
  const written = override.slice(equals + 1);
  let value: unknown;
  try {
    value = parse(written);
  } catch {
    // What is no YAML, such as "a: b: c", is meant as text.
    value = written;
  }
  return { path: path.split(".").map((key) => (/^\d+$/.test(key) ? Number(key) : key)), value };
}

function startsWith(path: KeyPath, start: KeyPath): boolean {
  return start.length <= path.length && start.every((key, i) => String(key) === String(path[i]));
}

/** A copy of `whole` with one value set; maps that are missing on the way are made. */
function withValue(whole: unknown, path: KeyPath, value: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return value;
  if (Array.isArray(whole) && typeof key === "number" && key <= whole.length) {
    const copy: unknown[] = [...whole];
    copy[key] = withValue(copy[key], rest, value);
    return copy;
  }
  if (whole === undefined || whole === null || (typeof whole === "object" && !Array.isArray(whole))) {
    const members: Record<string, unknown> = { ...whole };
    return { ...members, [key]: withValue(members[key], rest, value) };
  }
  throw configError([
    `--set ${path.join(".")}: the configuration holds no map there, so "${key}" cannot be set in it`,
  ]);
}
