/**
 * The round's updates as strategies read them: in memory for tests and small fleets, on disk for the rest.
 */
import { openSet } from "../adapters/encoded-set.ts";
import { openUpdate } from "../adapters/encoded-update.ts";
import { openSafetensors, type SafetensorsFile } from "../adapters/safetensors.ts";
import { createHeaderReader } from "../adapters/safetensors-header.ts";
import { compareNames, type TensorSet } from "../adapters/tensor.ts";
import { FedloomError } from "../base/errors.ts";
import type { UpdateInfo, Updates } from "./strategy.ts";

/** Tensors by name, one at a time: a safetensors file or a set in memory. */
export type TensorSource = Pick<SafetensorsFile, "names" | "has" | "info" | "read" | "readInto" | "isFinite">;

export interface UpdateEntry {
  readonly info: UpdateInfo;
  readonly tensors: TensorSource;
  readonly extras?: Readonly<Record<string, TensorSource>>;
  /** What the client started from, where that is not the current global adapter. */
  readonly base?: TensorSource;
}

export interface UpdateFiles {
  readonly info: UpdateInfo;
  /** Path of the adapter's safetensors file. */
  readonly model: string;
  readonly extras?: Readonly<Record<string, string>>;
  readonly base?: string;
  /** The file that was handed out and its SHA-256, where `model` may hold coded differences from it. */
  readonly origin?: { readonly path: string; readonly sha256: string };
}

/** Whole tensors, whatever codec the file was sent with. */
function decoded(file: SafetensorsFile, handedOut: SafetensorsFile, sha256: string): TensorSource {
  return openUpdate(file, { file: handedOut, sha256 });
}

export function sourceOf(tensors: TensorSet): TensorSource {
  const read: TensorSource["read"] = (name) => {
    const found = tensors.get(name);
    if (found === undefined) throw new TypeError(`The set has no tensor "${name}"`);
    return found;
  };
  return {
    names: [...tensors.keys()],
    has: (name) => tensors.has(name),
    info: (name) => ({ ...read(name), begin: 0, end: read(name).data.byteLength }),
    read,
    readInto(name, byteFrom, target) {
      const { data } = read(name);
      target.set(new Uint8Array(data.buffer, data.byteOffset + byteFrom, target.length));
    },
  };
}

type Named = Pick<UpdateInfo, "client" | "draw">;

/** In byte order of client ids, one client's in the order of its draws: the order in which every sum runs. */
export function inOrder<T extends Named>(clients: readonly T[]): T[] {
  return [...clients].sort(compareClients);
}

function compareClients(a: Named, b: Named): number {
  return compareNames(a.client, b.client) || (a.draw ?? 0) - (b.draw ?? 0);
}

/** @throws FedloomError F3105 where a client comes twice */
export function collectUpdates(entries: readonly UpdateEntry[]): Updates {
  const sorted = [...entries].sort((a, b) => compareClients(a.info, b.info));
  for (const [k, { info }] of sorted.entries()) {
    if (k > 0 && compareClients(sorted[k - 1]!.info, info) === 0) {
      throw new FedloomError(
        "F3105",
        `Cannot aggregate two updates of client "${info.client}" in one round: one is wanted`,
        { client: info.client },
      );
    }
  }
  // Files with one header share the list of its names, too.
  const lists = new Set(sorted.map(({ tensors }) => tensors.names));
  const names = [...new Set([...lists].flat())].sort(compareNames);
  const readFrom = (source: TensorSource | undefined, name: string) =>
    source?.has(name) ? source.read(name) : undefined;
  return {
    clients: sorted.map(({ info }) => info),
    names,
    has: (client, name) => sorted[client]!.tensors.has(name),
    shape: (client, name) => sorted[client]!.tensors.info(name).shape,
    tensor: (client, name) => readFrom(sorted[client]!.tensors, name),
    slice(client, name, from, target) {
      const { tensors } = sorted[client]!;
      if (tensors.readInto === undefined || tensors.info(name).dtype !== "F32") return false;
      tensors.readInto(name, from * 4, new Uint8Array(target.buffer, target.byteOffset, target.byteLength));
      return true;
    },
    extra: (client, kind, name) => readFrom(sorted[client]!.extras?.[kind], name),
    ...(sorted.some(({ base }) => base !== undefined) && {
      base: (client: number, name: string) => readFrom(sorted[client]!.base, name),
    }),
  };
}

/**
 * Updates on disk, open until `close`; files are read tensor by tensor.
 *
 * @param headerOf whoever opens the same ones again and again keeps their headers
 */
export function openUpdates(
  files: readonly UpdateFiles[],
  headerOf = createHeaderReader(),
): {
  readonly entries: readonly UpdateEntry[];
  close(): void;
} {
  const opened = new Map<string, SafetensorsFile>();
  const close = () => {
    for (const file of opened.values()) file.close();
    opened.clear();
  };
  /** What several clients were handed out is opened once. */
  const open = (path: string) => {
    const file = opened.get(path) ?? openSafetensors(path, headerOf);
    opened.set(path, file);
    return file;
  };
  try {
    const entries = files.map(({ info, model, extras = {}, base, origin }) => {
      const handedOut = origin === undefined ? undefined : open(origin.path);
      const sent = open(model);
      const sets = Object.entries(extras).map(([kind, path]) => {
        const set = open(path);
        return [kind, handedOut === undefined ? set : openSet(set, handedOut)] as const;
      });
      return {
        info,
        tensors: handedOut === undefined ? sent : decoded(sent, handedOut, origin!.sha256),
        extras: Object.fromEntries(sets),
        ...(base !== undefined && { base: open(base) }),
      };
    });
    return { entries, close };
  } catch (error) {
    close();
    throw error;
  }
}
