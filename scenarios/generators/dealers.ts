/**
 * The dealers: who gets which examples. Equal arguments and seed give equal shards; nothing is lost or dealt twice.
 */
import { FedloomError } from "../../base/errors.ts";
import type { Rng } from "../../base/rng.ts";
import {
  type Assignment,
  apportion,
  blocks,
  byLabel,
  type DealOptions,
  requireEnough,
  topUp,
} from "./assignment.ts";
import { dirichlet } from "./gamma.ts";

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

const equalSizes = (total: number, clients: number): number[] =>
  apportion(new Array<number>(clients).fill(1), total);

function finish(held: number[][], options: DealOptions, rng: Rng): Assignment {
  topUp(held, options.minPerClient ?? 1, rng.fork("top-up"));
  return held.map((own, client) => rng.fork("order", client).shuffle(own));
}

function requirePositive(what: string, value: number): void {
  if (value > 0 && Number.isFinite(value)) return;
  throw new FedloomError("F6001", `Cannot partition: ${what} must be above 0, got ${value}`, {
    [what]: value,
  });
}

/** Equal sizes, all labels alike at every client but for chance. */
export function dealIid(labels: readonly string[], options: DealOptions, rng: Rng): Assignment {
  requireEnough(labels.length, options);
  return blocks(rng.fork("deal").shuffle(range(labels.length)), equalSizes(labels.length, options.clients));
}

/**
 * Label skew: for each label the clients' shares are one draw from Dirichlet(alpha, ..., alpha). Small alpha: few clients
 * hold a label. Sizes come by largest remainder, so no client is special.
 *
 * Source: Hsu et al. 2019, https://arxiv.org/abs/1909.06335, as most benchmarks use it (per label, not per client)
 */
export function dealDirichlet(
  labels: readonly string[],
  options: DealOptions & { alpha: number },
  rng: Rng,
): Assignment {
  requirePositive("alpha", options.alpha);
  requireEnough(labels.length, options);
  const held: number[][] = range(options.clients).map(() => []);
  for (const [label, members] of byLabel(labels)) {
    const own = rng.fork("label", label);
    const sizes = apportion(dirichlet(own, options.alpha, options.clients), members.length);
    for (const [client, block] of blocks(own.shuffle(members), sizes).entries()) held[client]!.push(...block);
  }
  return finish(held, options, rng);
}

/**
 * Pathological label skew: examples sorted by label, cut into clients x shardsPerClient shards, each client takes some.
 *
 * Source: McMahan et al. 2017, §3, https://arxiv.org/abs/1602.05629
 */
export function dealLabelShards(
  labels: readonly string[],
  options: DealOptions & { shardsPerClient: number },
  rng: Rng,
): Assignment {
  const shards = options.clients * options.shardsPerClient;
  requireEnough(labels.length, { clients: options.clients, minPerClient: options.shardsPerClient });
  const sorted = [...byLabel(labels)].flatMap(([label, members]) =>
    rng.fork("label", label).shuffle(members),
  );
  const cut = blocks(sorted, equalSizes(sorted.length, shards));
  const taken = blocks(
    rng.fork("deal").shuffle(cut),
    new Array<number>(options.clients).fill(options.shardsPerClient),
  );
  return finish(
    taken.map((own) => own.flat()),
    options,
    rng,
  );
}

/** Quantity skew: sizes from one draw of Dirichlet(alpha), labels alike but for chance. */
export function dealQuantities(
  labels: readonly string[],
  options: DealOptions & { alpha: number },
  rng: Rng,
): Assignment {
  requirePositive("alpha", options.alpha);
  requireEnough(labels.length, options);
  const sizes = apportion(dirichlet(rng.fork("sizes"), options.alpha, options.clients), labels.length);
  return finish(blocks(rng.fork("deal").shuffle(range(labels.length)), sizes), options, rng);
}

/**
 * By a natural id (a hospital, an author): all examples of an id at one client, ids dealt so that sizes stay near each
 * other (largest first, to the smallest client).
 *
 * @param ids one per example
 * @throws FedloomError F6001 where there are fewer ids than clients
 */
export function dealNaturally(ids: readonly string[], options: DealOptions, rng: Rng): Assignment {
  const groups = rng.fork("ties").shuffle([...byLabel(ids).values()]);
  if (groups.length < options.clients) {
    throw new FedloomError(
      "F6001",
      `Cannot deal ${groups.length} natural ids to ${options.clients} clients: feasible are at most ${groups.length} clients`,
      { ids: groups.length, clients: options.clients },
    );
  }
  const held: number[][] = range(options.clients).map(() => []);
  for (const group of groups.sort((a, b) => b.length - a.length)) {
    held.reduce((least, one) => (one.length < least.length ? one : least)).push(...group);
  }
  return held.map((own, client) => rng.fork("order", client).shuffle(own));
}
