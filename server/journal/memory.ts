/** A store that lasts as long as its process: for fleets in one process and for tests. */
import { contradiction } from "../round.ts";
import { chainStart, type Link, linkOf, readChain } from "./chain.ts";
import type { RunRow, Store } from "./store.ts";
import type { AuditEntry } from "./trail.ts";

export function createMemoryStore(): Store {
  const journals = new Map<string, { readonly row: RunRow; readonly links: Link[] }>();
  const entries: AuditEntry[] = [];
  const journalOf = (run: string) => {
    const journal = journals.get(run);
    if (journal === undefined) throw contradiction(`there is no run "${run}"`);
    return journal;
  };
  const append: Store["append"] = async (run, after, events) => {
    const { row, links } = journalOf(run);
    if (links.length !== after) throw contradiction(`run "${run}" has ${links.length} events, not ${after}`);
    for (const event of events) links.push(linkOf(links.at(-1)?.hash ?? chainStart(row), event));
  };
  return {
    trail: {
      add: async (entry) => void entries.push(entry),
      newest: async (count) => entries.slice(-count),
    },
    async createRun(row, begun = [], entry) {
      if (journals.has(row.id)) throw contradiction(`run "${row.id}" is created twice`);
      journals.set(row.id, { row: structuredClone(row), links: [] });
      await append(row.id, 0, begun);
      if (entry !== undefined) entries.push(entry);
    },
    runs: async () => [...journals.values()].map(({ row }) => structuredClone(row)),
    append,
    async read(run, after = 0) {
      const { row, links } = journalOf(run);
      return readChain(run, chainStart(row), links).slice(after);
    },
    close: async () => undefined,
  };
}
