/**
 * A federation in one process: the coordinator and the clients of every other run, without sockets, and one
 * trainer that all clients share. A networked run of the same configuration and seed, with clients of the same
 * names and data, ends with the same adapter.
 *
 * Clients take turns at the trainer, so that time says nothing about them: a run's time limits do not hold here, and
 * in an asynchronous run the order in which clients answer is drawn (arrivals.ts).
 */
import { join } from "node:path";
import type { Adapter } from "../../adapters/adapter.ts";
import { systemClock } from "../../base/clock.ts";
import { FedloomError } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { createRng } from "../../base/rng.ts";
import { Spool } from "../../base/spool.ts";
import { createMemoryTensors, type LocalTensors, openDiskTensors } from "../../client/local-tensors.ts";
import { runNode } from "../../client/node.ts";
import { holdConnection } from "../../client/standing.ts";
import { createMemoryState } from "../../client/state.ts";
import { bytesOf } from "../../config/byte-size.ts";
import { isAsync, type RunConfig } from "../../config/run.ts";
import { fingerprintOf } from "../../data/fingerprint.ts";
import { createMemoryBlobs } from "../../server/blobs/memory.ts";
import { Shelf } from "../../server/blobs/shelf.ts";
import { Coordinator } from "../../server/coordinator.ts";
import type { RunEngine } from "../../server/engine.ts";
import { letGarbageLie } from "../../server/heap.ts";
import { createMemoryStore } from "../../server/journal/memory.ts";
import type { ModelPort, Sampler } from "../../server/ports.ts";
import { clients as clientsOf, type Round } from "../../server/round.ts";
import { seededSampler } from "../../server/sampling.ts";
import { startCoordinator } from "../../server/start.ts";
import { AT_ONCE, UNHURRIED } from "../../server/sweep.ts";
import type { TogetherPlan, Trainer, TrainJob } from "../../training/trainer.ts";
import { arrivalsInOrder } from "./arrivals.ts";
import { clientTrainer } from "./client-trainer.ts";
import { type Gathering, gatherClients } from "./gather.ts";
import { evaluateAdapter, firstAdapter, heldOutExamples } from "./model-work.ts";
import { amongPresent } from "./presence.ts";
import { publishedSampler } from "./published-sampler.ts";
import { type FleetClient, fleetShards } from "./shards.ts";
import { sharedBlobs } from "./shared-blobs.ts";
import { missingDeadlines } from "./stragglers.ts";
import { drawTraits, type FleetTraits } from "./traits.ts";
import { takeTurns } from "./turns.ts";
import { withWrongAnswers } from "./wrong-answers.ts";

export interface FleetOptions {
  /** With a `fleet` section, or with `clients` given here. */
  readonly config: RunConfig;
  readonly trainer: Trainer;
  readonly device: string;
  readonly log: Log;
  /** The coordinator's state directory: a fleet started again on it goes on. In memory where it is absent. */
  readonly state?: string;
  /** The same key again on the same state is the same run. */
  readonly key?: string;
  /** Clients in place of the shards that the configuration names. */
  readonly clients?: readonly FleetClient[];
  /** In place of `fleet.batching` and `fleet.memory` of the configuration. */
  readonly batching?: boolean | number;
  readonly memoryBytes?: number;
  /** In place of the run's own evaluation: called after every round that `evaluation.every` names. */
  readonly evaluate?: (adapter: Adapter) => Promise<Readonly<Record<string, number>>>;
}

export interface Fleet {
  readonly coordinator: Coordinator;
  readonly engine: RunEngine;
  /** Resolves when the run is finished or stopped; rejects when a client or the coordinator breaks down. */
  readonly ended: Promise<void>;
  /** Ends everything, at once; the trainer stays open. */
  close(): Promise<void>;
}

/** Clients in one pass gain little beyond this number (docs/benchmarks.md, "adapters"). */
const MAX_TOGETHER = 16;

/** Longer than any run: clients wait for their turn as long as it takes. */
const NO_LIMIT = "20d";

/** @throws FedloomError F6011 for a configuration without clients, and what shards, traits and coordinator refuse */
export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const { config, log, device } = options;
  const given = options.clients ?? (await shardsOf(config));
  const traits = drawTraits(config, given.length);
  const clients = given.map((client, i) => withWrongAnswers(client, traits.clients[i]!, config.seed));
  logTraits(log, clients, traits);
  const fingerprints = new Map<string, string>();
  // Without a key: whoever runs a fleet has all its data. Only runs that leave a manifest need them.
  if (options.state !== undefined) {
    for (const { id, shard } of clients) fingerprints.set(id, await fingerprintOf(shard.train));
  }
  const trainer = takeTurns(options.trainer);
  let engine: RunEngine | undefined;
  const arrivals = isAsync(config)
    ? arrivalsInOrder(() => engine?.run, orderOf(config, clients, traits))
    : undefined;
  const gathering = gatherFor(options, trainer, arrivals?.wanted ?? (() => waitedFor(engine?.run.round)));
  const samplers = samplersFor(clients, traits);
  const shelf = new Shelf(new Spool(), { thread: waitsForAll(config) });
  const coordinator = await openCoordinator(options, shelf, modelOf(trainer, options), samplers);
  const clientBlobs = sharedBlobs(shelf, { clearedByCoordinator: options.state === undefined });
  const ending = new AbortController();
  // What stays with a client must outlive the process wherever the run does.
  const localTensors = (id: string): LocalTensors =>
    options.state === undefined ? createMemoryTensors() : openDiskTensors(join(options.state, "clients", id));
  const nodes = clients.map(({ id, shard }, i) => {
    const own = coordinator.fleet({ address: "in process" });
    const fleet = arrivals?.of(own) ?? missingDeadlines(own, id, (round) => traits.lateness(round, i));
    const rng = createRng(id);
    const dataFingerprint = fingerprints.get(id);
    return runNode({
      fleet,
      open: (hello, events) => holdConnection(fleet, hello, events, { clock: systemClock, rng }),
      trainer: clientTrainer(gathering?.of(id) ?? trainer, traits.clients[i]!),
      device,
      shard,
      ...(dataFingerprint !== undefined && { dataFingerprint }),
      state: createMemoryState(id, clientBlobs(), localTensors(id)),
      clock: systemClock,
      rng,
      log: log.child({ client: id }),
      signal: ending.signal,
    });
  });
  const close = async (): Promise<void> => {
    ending.abort();
    await Promise.allSettled(nodes);
    await coordinator.close();
    await shelf.close();
  };
  try {
    engine = await coordinator.submitRun({
      config: withoutLimits(config, clients.length),
      key: options.key,
    });
    engine.onEvent(() => {
      arrivals?.look();
      gathering?.look();
    });
    arrivals?.look();
    gathering?.look();
    const ended = Promise.race([whenEnded(engine), coordinator.broken, firstFailure(nodes)]);
    ended.catch(() => undefined); // whoever waits for it hears of it all the same
    return { coordinator, engine, ended, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Clients that go together, where the run wants it and the trainer can. */
function gatherFor(
  { config: { fleet }, log, ...options }: FleetOptions,
  trainer: Trainer,
  expected: () => readonly string[] | undefined,
): Gathering | undefined {
  const { trainTogether } = trainer;
  const batching = options.batching ?? fleet?.batching ?? true;
  const atOnce = batching === true ? MAX_TOGETHER : Number(batching);
  if (trainTogether === undefined || atOnce <= 1) return undefined;
  const given = options.memoryBytes ?? (fleet?.memory === undefined ? undefined : bytesOf(fleet.memory));
  const train = (jobs: readonly TrainJob[]) => {
    const memoryBytes = given ?? process.availableMemory() / 2;
    return trainTogether(jobs, { atOnce, memoryBytes, onPlan: (plan) => logPlan(plan, log, memoryBytes) });
  };
  return gatherClients(trainer, train, expected);
}

/** Whether a round waits for all of its clients, so that it does not matter who comes first. */
function waitsForAll({ cohort }: RunConfig): boolean {
  return cohort.mode !== "async" && cohort.overSelect === 0;
}

function waitedFor(round: Round | undefined): readonly string[] {
  return round?.phase === "collecting" ? clientsOf(round, "waiting") : [];
}

function orderOf({ seed }: RunConfig, clients: readonly FleetClient[], traits: FleetTraits) {
  const slowness = new Map(clients.map(({ id }, i) => [id, traits.clients[i]!.device?.slowness ?? 1]));
  return { seed, population: clients.length, slowness: (client: string) => slowness.get(client) ?? 1 };
}

function logPlan({ tasks, wanted, atOnce, bytesEach }: TogetherPlan, log: Log, memoryBytes: number): void {
  const mib = (bytes: number): string => `${Number((bytes / 2 ** 20).toPrecision(3))} MiB`;
  const fields = { clients: tasks, atOnce, each: mib(bytesEach), memory: mib(memoryBytes) };
  if (atOnce < wanted) log.warn(`Memory has room for ${atOnce} of ${wanted} clients in one pass`, fields);
  else log.info("Clients train together", fields);
}

/** So that a reader of the results knows who did what. */
function logTraits(log: Log, clients: readonly FleetClient[], traits: FleetTraits): void {
  for (const [i, { device, labelNoise, poison }] of traits.clients.entries()) {
    const fields = {
      ...(device && { device: device.name }),
      ...(labelNoise && { wrongAnswers: labelNoise.rate }),
      ...(poison && { poison: poison.kind }),
    };
    if (Object.keys(fields).length > 0) log.info("Client differs", { client: clients[i]!.id, ...fields });
  }
}

function shardsOf({ name, fleet }: RunConfig): Promise<FleetClient[]> {
  if (fleet !== undefined) return fleetShards(fleet);
  throw new FedloomError(
    "F6011",
    `Cannot run "${name}" in this process: its configuration has no section "fleet"; add one, or name a coordinator`,
  );
}

/** Round 1 waits until all clients are there, so that every start draws from the same ones. */
function withoutLimits(config: RunConfig, clients: number): RunConfig {
  const none = { deadline: NO_LIMIT, idle: NO_LIMIT, minClients: clients };
  if (config.cohort.mode === "async") return { ...config, cohort: { ...config.cohort, ...none } };
  const { grace: _, ...cohort } = config.cohort;
  return { ...config, cohort: { ...cohort, ...none } };
}

/** Draws of clients that know who is away; absent clients stay connected, since nothing else ends with them. */
function samplersFor(clients: readonly FleetClient[], { isAway }: FleetTraits): Record<string, Sampler> {
  const numbers = new Map(clients.map(({ id }, client) => [id, client]));
  const away = (round: number, id: string): boolean => isAway(round, numbers.get(id) ?? -1);
  return {
    seeded: amongPresent(seededSampler, away),
    published: amongPresent(publishedSampler, away),
  };
}

function openCoordinator(
  { config, state, log }: FleetOptions,
  shelf: Shelf,
  model: ModelPort,
  samplers: Readonly<Record<string, Sampler>>,
): Promise<Coordinator> {
  if (state !== undefined) {
    return startCoordinator({ state, log, model, samplers }).then(({ coordinator }) => coordinator);
  }
  const store = createMemoryStore();
  const blobs = createMemoryBlobs(shelf);
  const parts = { store, blobs, clock: systemClock, log, model, samplers };
  // A round may take a second, and memory has no room for those of some minutes; but in an asynchronous run a client
  // may hold its update for rounds before it is its turn to come.
  const sweeping = isAsync(config) ? UNHURRIED : AT_ONCE;
  return Coordinator.open({ ...parts, sweeping, betweenRounds: letGarbageLie() });
}

function modelOf(trainer: Trainer, { evaluate, state }: FleetOptions): ModelPort {
  let heldOut: ReturnType<typeof heldOutExamples> | undefined;
  const heldOutOf = (config: RunConfig): ReturnType<typeof heldOutExamples> => {
    heldOut ??= heldOutExamples(config);
    return heldOut;
  };
  const fingerprinted = evaluate === undefined && state !== undefined;
  return {
    createAdapter: (config) => firstAdapter(trainer, config),
    async evaluate(config, adapter, signal) {
      if (evaluate !== undefined) return evaluate(adapter);
      return evaluateAdapter(trainer, config, adapter, await heldOutOf(config), signal);
    },
    ...(fingerprinted && {
      heldOutFingerprint: async (config: RunConfig, signal: AbortSignal) =>
        fingerprintOf(await heldOutOf(config), { signal }),
    }),
  };
}

function whenEnded(engine: RunEngine): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (engine.run.phase === "finished" || engine.run.stopped !== undefined) resolve();
    };
    engine.onEvent(look);
    look();
  });
}

/** Rejects with what ended a client; a client that ends because the fleet does is no failure. */
function firstFailure(nodes: readonly Promise<void>[]): Promise<never> {
  return new Promise((_, reject) => {
    for (const node of nodes) node.catch(reject);
  });
}
