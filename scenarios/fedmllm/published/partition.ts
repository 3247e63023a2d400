/**
 * Who holds which row, as the published partition scripts deal them: one Dirichlet draw per label for the shares,
 * Python's shuffle for the order within a client.
 *
 * Quirks, all kept: the shares are cut down and the last client takes what is over, so it is usually too big; the
 * guard that gives every client a row of a label never ends where the cut-down sizes sum to fewer rows than there
 * are clients (refused here), and looks after the first label only in CrisisMMD; it may take from the last client,
 * whose size is then set anew.
 *
 * Source: FedMLLM, data_gen/data_partition_{hateful,crisismmd}.py, https://github.com/1xbq1/FedMLLM
 */
import { FedloomError } from "../../../base/errors.ts";
import type { PublishedRow } from "../../../data/formats/published-rows.ts";
import { dumpPythonJson, type PyValue } from "../../../data/python/json.ts";
import { PythonRandom } from "../../cpython/random.ts";
import { RandomState } from "../../numpy/random-state.ts";
import { labelKey, type PublishedTask } from "./task.ts";

export interface PublishedPartition {
  /** Labels in order of first appearance. */
  readonly labels: readonly PyValue[];
  /** Label x client: the Dirichlet draws and the final numbers of rows. */
  readonly proportions: readonly (readonly number[])[];
  readonly sizes: readonly (readonly number[])[];
  /** Each client's rows in file order. */
  readonly clients: readonly (readonly PublishedRow[])[];
}

/** The published seed; both generators start from it. */
export const PARTITION_SEED = 42;

/** @throws FedloomError F6001 for parameters that no script takes, F6003 where the script would never end */
export function partitionRows(
  task: PublishedTask,
  rows: readonly PublishedRow[],
  setting: { alpha: number; clients: number; seed?: number },
): PublishedPartition {
  const { alpha, clients, seed = PARTITION_SEED } = setting;
  if (!(alpha > 0) || !Number.isFinite(alpha)) {
    throw new FedloomError("F6001", `Cannot draw shares: alpha must be above 0, got ${alpha}`, { alpha });
  }
  if (!Number.isInteger(clients) || clients < 1) {
    throw new FedloomError("F6001", `Cannot partition: clients must be a positive integer, got ${clients}`, {
      clients,
    });
  }
  const groups = groupByLabel(task, rows);
  const numpy = new RandomState(seed);
  const python = new PythonRandom(seed);
  const proportions = groups.map(() => numpy.dirichlet(new Array<number>(clients).fill(alpha)));

  const held: PublishedRow[][] = Array.from({ length: clients }, () => []);
  const sizes = groups.map((group, g) => {
    const cut = proportions[g]!.map((share) => Math.trunc(share * group.rows.length));
    if (task.guardsEveryLabel || g === 0) giveEachOne(cut, group.label);
    const others = cut.slice(0, -1).reduce((sum, size) => sum + size, 0);
    cut[clients - 1] = group.rows.length - others;
    let from = 0;
    for (const [client, size] of cut.entries()) {
      held[client]!.push(...group.rows.slice(from, from + size));
      from += size;
    }
    return cut;
  });
  for (const own of held) python.shuffle(own);
  return { labels: groups.map((group) => group.label), proportions, sizes, clients: held };
}

interface LabelGroup {
  readonly label: PyValue;
  readonly rows: PublishedRow[];
}

function groupByLabel(task: PublishedTask, rows: readonly PublishedRow[]): LabelGroup[] {
  const groups = new Map<string, LabelGroup>();
  for (const row of rows) {
    const label = task.label(row);
    const known = groups.get(labelKey(label));
    if (known === undefined) groups.set(labelKey(label), { label, rows: [row] });
    else known.rows.push(row);
  }
  return [...groups.values()];
}

/** The guard: takes from the first of the rich until no client has less than one. Changes `sizes`. */
function giveEachOne(sizes: number[], label: PyValue): void {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total < sizes.length) {
    throw new FedloomError(
      "F6003",
      `Cannot partition as published: label ${dumpPythonJson(label, { ascii: false })} has ${total} rows after cutting the shares down, too few for one each of ${sizes.length} clients; the published script never ends here`,
      { label: String(label), rows: total, clients: sizes.length },
    );
  }
  while (sizes.some((size) => size < 1)) {
    const needy = [...sizes.keys()].filter((client) => sizes[client]! < 1);
    const rich = [...sizes.keys()].filter((client) => sizes[client]! > 1);
    for (const client of needy) {
      const giver = rich[0];
      if (giver === undefined) break;
      sizes[client]!++;
      sizes[giver]!--;
      if (sizes[giver] === 1) rich.shift();
    }
  }
}

/** The bytes of `client_i.json` that the partition scripts write: one row a line. */
export function encodeRows(rows: readonly PublishedRow[]): string {
  return rows.map((row) => `${dumpPythonJson(row.members, { ascii: true })}\n`).join("");
}
