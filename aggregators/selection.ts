/** Views of a round's updates: some of the clients, some of the tensors. Nothing is copied. */
import type { Updates } from "./strategy.ts";

/** The updates of some of the clients, in the order of `updates`. */
export function onlyClients(updates: Updates, chosen: Iterable<number>): Updates {
  const kept = [...chosen].sort((a, b) => a - b);
  const { base, slice } = updates;
  return {
    clients: kept.map((k) => updates.clients[k]!),
    names: updates.names.filter((name) => kept.some((k) => updates.has(k, name))),
    has: (client, name) => updates.has(kept[client]!, name),
    shape: (client, name) => updates.shape(kept[client]!, name),
    tensor: (client, name) => updates.tensor(kept[client]!, name),
    extra: (client, kind, name) => updates.extra(kept[client]!, kind, name),
    ...(slice !== undefined && {
      slice: (client: number, name: string, from: number, target: Float32Array) =>
        slice(kept[client]!, name, from, target),
    }),
    ...(base !== undefined && { base: (client: number, name: string) => base(kept[client]!, name) }),
  };
}

/** The tensors whose names pass, as if the clients had sent nothing else. */
export function onlyTensors(updates: Updates, passes: (name: string) => boolean): Updates {
  const { base, slice } = updates;
  return {
    clients: updates.clients,
    names: updates.names.filter(passes),
    shape: updates.shape,
    has: (client, name) => passes(name) && updates.has(client, name),
    tensor: (client, name) => (passes(name) ? updates.tensor(client, name) : undefined),
    extra: (client, kind, name) => (passes(name) ? updates.extra(client, kind, name) : undefined),
    ...(slice !== undefined && { slice }),
    ...(base !== undefined && { base }),
  };
}
