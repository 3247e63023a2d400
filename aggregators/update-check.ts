/**
 * What an update must be before any strategy sees it. Everything that cannot be averaged is refused here, by
 * client and tensor, and nowhere else; strategies rely on what this file lets through:
 *
 *  1. Counts are whole numbers in range; examples and steps are at least 1.
 *  2. Base model, rank, alpha and scale are the run's, or the strategy declares that it takes other ranks.
 *  3. Every tensor is one of the global adapter's, in its type and exactly its shape (no broadcasting), and finite.
 *  4. No tensor lacks that should be there, unless the strategy can do without.
 *  5. The sets that the strategy asked for are there, as complete and as sound; squared gradients not negative.
 */
import type { Adapter } from "../adapters/adapter.ts";
import { allFinite, floats, isFloat } from "../adapters/cast.ts";
import { differences } from "../adapters/compatibility.ts";
import { sameShape } from "../adapters/tensor.ts";
import { factorPairs, parseName } from "../adapters/tensor-names.ts";
import { type Code, FedloomError } from "../base/errors.ts";
import type { Needs, UpdateInfo } from "./strategy.ts";
import type { TensorSource, UpdateEntry } from "./updates.ts";

/** What the run expects of one client's update. */
export interface Expectation {
  readonly global: Adapter;
  readonly needs: Needs;
  /** From the client's instructions: names that travel, and sets that it must send. */
  readonly travels?: string | undefined;
  readonly extras?: readonly string[] | undefined;
}

/** Most examples, steps or tokens of one client in one round; a larger count would decide every average alone. */
export const MAX_COUNT = 1e9;

/** Sets whose values are squares. */
const SQUARES: ReadonlySet<string> = new Set(["fisher", "fisher-running"]);

/** @throws FedloomError F3101, F3102, F3104, F3106, F3107 or F3108, naming the client and what is wrong */
export function checkUpdate(expected: Expectation, entry: UpdateEntry): void {
  checkCounts(entry.info);
  checkConfig(expected, entry.info);
  const travels = travelling(expected);
  checkTensors(expected, entry, travels);
  for (const kind of expected.extras ?? []) {
    checkExtra(entry, kind);
  }
}

export interface Admission {
  readonly admitted: readonly UpdateEntry[];
  readonly refused: readonly { readonly client: string; readonly error: FedloomError }[];
}

/** Sorts updates into usable and refused ones; a client that comes twice is refused with both. */
export function admit(expected: Expectation, entries: readonly UpdateEntry[]): Admission {
  const admitted: UpdateEntry[] = [];
  const refused: { client: string; error: FedloomError }[] = [];
  for (const entry of entries) {
    const { client } = entry.info;
    try {
      if (entries.some((other) => other !== entry && other.info.client === client)) {
        throw refusal("F3105", client, "the client sent two updates for one round, one is wanted");
      }
      checkUpdate(expected, entry);
      admitted.push(entry);
    } catch (error) {
      if (!(error instanceof FedloomError)) throw error;
      refused.push({ client, error });
    }
  }
  return { admitted, refused };
}

function checkCounts(info: UpdateInfo): void {
  const counts = {
    examples: info.examples,
    steps: info.steps,
    tokens: info.tokens,
    staleness: info.staleness,
  };
  for (const [what, count] of [...Object.entries(counts), ...Object.entries(info.touched)]) {
    if (count === undefined) continue;
    if (!Number.isInteger(count) || count < 0 || count > MAX_COUNT) {
      throw refusal(
        "F3104",
        info.client,
        `"${what}" must be a whole number from 0 to ${MAX_COUNT}, got ${count}`,
      );
    }
  }
  if (info.examples === 0) throw refusal("F3108", info.client, "it trained on 0 examples");
  if (info.steps === 0) throw refusal("F3108", info.client, "it took 0 optimizer steps");
}

function checkConfig({ global, needs }: Expectation, { client, adapter }: UpdateInfo): void {
  const [first] = differences(global.config, adapter).filter(
    ({ key }) => needs.heterogeneousRanks !== true || !RANK_KEYS.has(key),
  );
  if (first === undefined) return;
  const short = (text: string) => (text.length > 80 ? `${text.slice(0, 80)}...` : text);
  throw refusal("F3106", client, `its ${first.key} must be ${short(first.wanted)}, got ${short(first.got)}`);
}

/** What may differ between clients where a strategy takes other ranks; their scales differ with them. */
const RANK_KEYS: ReadonlySet<string> = new Set(["rank", "alpha", "rankPattern", "alphaPattern"]);

function travelling({ global, travels }: Expectation): ReadonlySet<string> {
  const pattern = travels === undefined ? undefined : new RegExp(travels);
  return new Set([...global.tensors.keys()].filter((name) => pattern === undefined || pattern.test(name)));
}

function checkTensors(
  { global, needs }: Expectation,
  { info, tensors }: UpdateEntry,
  travels: ReadonlySet<string>,
): void {
  const { client } = info;
  for (const name of tensors.names) {
    const own = global.tensors.get(name);
    if (own === undefined) {
      throw refusal("F3101", client, `tensor "${name}" is not in the global adapter`);
    }
    const { dtype, shape } = tensors.info(name);
    if (dtype !== own.dtype || !isFloat(dtype)) {
      throw refusal("F3101", client, `tensor "${name}" must be ${own.dtype}, got ${dtype}`);
    }
    const wanted = needs.heterogeneousRanks === true ? withRank(name, own.shape, shape) : own.shape;
    if (!sameShape(shape, wanted)) {
      throw refusal(
        "F3101",
        client,
        `tensor "${name}" must have shape [${own.shape.join(", ")}], got [${shape.join(", ")}]`,
      );
    }
    requireFinite(client, name, tensors);
  }
  checkPairs(client, tensors);
  const missing = [...travels].filter((name) => !tensors.has(name));
  if (missing.length === travels.size)
    throw refusal("F3101", client, "it holds none of the adapter's tensors");
  if (missing.length > 0 && needs.missingTensors !== true) {
    throw refusal(
      "F3101",
      client,
      `the strategy needs every tensor, and ${missing.length} are missing, among them "${missing[0]}"`,
    );
  }
}

/** The global shape with the rank axis as the client has it: axis 0 of lora_A, axis 1 of lora_B. */
function withRank(name: string, own: readonly number[], got: readonly number[]): readonly number[] {
  const part = parseName(name)?.part;
  const axis = part?.endsWith("_A") ? 0 : part?.endsWith("_B") ? 1 : undefined;
  if (axis === undefined || (got[axis] ?? 0) < 1) return own;
  return own.map((size, at) => (at === axis ? got[axis]! : size));
}

function checkPairs(client: string, tensors: TensorSource): void {
  for (const { a, b } of factorPairs(tensors.names)) {
    const rows = tensors.info(a).shape[0];
    const columns = tensors.info(b).shape[1];
    if (rows !== columns) {
      throw refusal("F3101", client, `"${a}" has rank ${rows} and its partner has rank ${columns}`);
    }
  }
}

function checkExtra({ info, tensors, extras }: UpdateEntry, kind: string): void {
  const set = extras?.[kind];
  if (set === undefined)
    throw refusal("F3107", info.client, `the strategy wants the set "${kind}" beside it`);
  for (const name of tensors.names) {
    if (!set.has(name))
      throw refusal("F3107", info.client, `tensor "${name}" is missing in its set "${kind}"`);
    const wanted = tensors.info(name).shape;
    const { dtype, shape } = set.info(name);
    if (!isFloat(dtype) || !sameShape(shape, wanted)) {
      throw refusal(
        "F3107",
        info.client,
        `tensor "${name}" of its set "${kind}" must be floats of shape [${wanted.join(", ")}], got ${dtype} [${shape.join(", ")}]`,
      );
    }
    requireFinite(info.client, name, set, `${kind}: ${name}`);
    if (SQUARES.has(kind) && floats(set.read(name)).some((value) => value < 0)) {
      throw refusal("F3107", info.client, `tensor "${name}" of its set "${kind}" holds a negative value`);
    }
  }
}

/** Values looked at at once: a part in the processor's cache, and no copy of the tensor for each client of a round. */
const PART_VALUES = 16_384;
/** Scratch of this thread: fresh ones for every tensor of every client would be most of a round's garbage. */
const scratch = new Float32Array(PART_VALUES);

function requireFinite(client: string, name: string, source: TensorSource, called = name): void {
  if (source.isFinite?.(name) === true || finiteInParts(name, source)) return;
  const tensor = source.read(name);
  if (allFinite(tensor)) return;
  const at = floats(tensor).findIndex((value: number) => !Number.isFinite(value));
  throw refusal(
    "F3102",
    client,
    `tensor "${called}" must be finite, got ${floats(tensor)[at]} at position ${at}`,
  );
}

/** Whether a float32 tensor that can be read in parts is finite; false where it is not, or cannot be read so. */
function finiteInParts(name: string, source: TensorSource): boolean {
  const { dtype, begin, end } = source.info(name);
  if (source.readInto === undefined || dtype !== "F32") return false;
  const count = (end - begin) / 4;
  for (let from = 0; from < count; from += PART_VALUES) {
    const values = scratch.subarray(0, Math.min(PART_VALUES, count - from));
    source.readInto(name, 4 * from, new Uint8Array(values.buffer, 0, values.byteLength));
    if (!allFinite({ dtype, shape: [values.length], data: values })) return false;
  }
  return true;
}

function refusal(code: Code, client: string, reason: string): FedloomError {
  return new FedloomError(code, `Cannot use the update of client "${client}": ${reason}`, { client });
}
