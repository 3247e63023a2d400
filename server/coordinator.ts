/**
 * The coordinator: its runs, its clients, its state. No sockets here; grpc/ and http/ are its edges, and a fleet in
 * one process calls `fleet()` directly.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { codecOf } from "../adapters/codecs/index.ts";
import type { Aggregator } from "../aggregators/aggregator.ts";
import type { Clock } from "../base/clock.ts";
import { FedloomError, messageOf } from "../base/errors.ts";
import { canonicalJson } from "../base/hash.ts";
import type { Log } from "../base/log.ts";
import { type RunConfig, runConfig } from "../config/run.ts";
import type { Fleet, Peer } from "../proto/fleet.ts";
import type { Blobs } from "./blobs/blobs.ts";
import { Dispatcher } from "./dispatch.ts";
import { RunEngine } from "./engine.ts";
import { fleetFor } from "./fleet.ts";
import type { FleetHost } from "./fleet-host.ts";
import type { RunRow, Store } from "./journal/store.ts";
import type { AuditEntry } from "./journal/trail.ts";
import type { ModelPort, Sampler } from "./ports.ts";
import { Presence } from "./presence.ts";
import type { Failure } from "./records.ts";
import type { RunEvent } from "./run/state.ts";
import { seededSampler } from "./sampling.ts";
import { keepSightings, type Sightings } from "./sightings.ts";
import { Sweeper, type SweepPace } from "./sweep.ts";
import { parseTaskId } from "./task-id.ts";
import { strategyOf } from "./work/prepare.ts";

export interface CoordinatorOptions {
  readonly store: Store;
  readonly blobs: Blobs;
  readonly clock: Clock;
  readonly log: Log;
  readonly model: ModelPort;
  readonly aggregator?: Aggregator;
  /** When clients were here last, across restarts; known of this process alone where it is absent. */
  readonly sightings?: Sightings;
  /** Whether a client may take part at all; everybody may where it is absent. */
  admits?(client: string): boolean;
  /** Beside "seeded"; "published" is the scenarios'. */
  readonly samplers?: Readonly<Record<string, Sampler>>;
  /** Called when a round is over, before the next one has work to do. */
  betweenRounds?(): void;
  /** How soon blobs go that nobody refers to any more; as suits a disk where it is absent. */
  readonly sweeping?: SweepPace;
  /** Where each run's files go, in a folder of its id; undefined where runs leave none. */
  readonly runsDirectory?: string | undefined;
}

export interface Submission {
  readonly config: RunConfig;
  /** The same key again gives the same run; random where it is absent. */
  readonly key?: string | undefined;
  /** Who begins it, for the audit trail; none is noted where it is absent. */
  readonly by?: string | undefined;
}

/** What a run begins with that goes on from another one. */
interface Beginning {
  readonly events: readonly RunEvent[];
  /** What was done, for the audit trail. */
  told(run: string): string;
}

export class Coordinator implements FleetHost {
  readonly parts: CoordinatorOptions & { readonly presence: Presence; readonly dispatcher: Dispatcher };
  readonly log: Log;
  readonly #sweeper: Sweeper;
  readonly #engines = new Map<string, RunEngine>();
  readonly #progressListeners = new Set<(client: string) => void>();
  readonly #submitting = new Map<string, Promise<void>>();
  #closeSightings: () => Promise<void> = async () => undefined;
  readonly #broken = Promise.withResolvers<never>();

  private constructor(options: CoordinatorOptions) {
    const presence = new Presence(options.clock);
    this.#sweeper = new Sweeper(options.blobs, options.clock, options.sweeping);
    const blobs = this.#sweeper.watched();
    this.parts = { ...options, blobs, presence, dispatcher: new Dispatcher(options.clock, presence) };
    this.log = options.log;
    this.#broken.promise.catch(() => undefined); // whoever waits for it hears of it all the same
  }

  /** Takes up every run of the store where it was. */
  static async open(options: CoordinatorOptions): Promise<Coordinator> {
    const coordinator = new Coordinator(options);
    const { sightings, clock, log } = options;
    if (sightings !== undefined) {
      const { presence } = coordinator.parts;
      coordinator.#closeSightings = await keepSightings({ sightings, presence, clock, log });
    }
    for (const row of await options.store.runs()) await coordinator.#take(row);
    return coordinator;
  }

  /** Never resolves; rejects when the state cannot be written any more and the process should end. */
  get broken(): Promise<never> {
    return this.#broken.promise;
  }

  /** The coordinator as one peer sees it. */
  fleet(peer: Peer): Fleet {
    return fleetFor(this, peer);
  }

  /**
   * Checks a configuration as far as it can be before a model is opened, and begins the run.
   *
   * @throws FedloomError F31xx where the strategy does not fit, F3010 for an unknown codec, F4019 for a key that another configuration has
   */
  async submitRun(submission: Submission): Promise<RunEngine> {
    const { name } = submission.config;
    return this.#begin(submission, { events: [], told: (run) => `submitted run ${run} (${name})` });
  }

  async #begin(submission: Submission, beginning: Beginning): Promise<RunEngine> {
    const { key = randomBytes(16).toString("hex"), by } = submission;
    const config = runConfig.parse(submission.config);
    strategyOf(config);
    codecOf(config.codec);
    // One submission of a key at a time: its repeat finds what the first one made.
    const before = this.#submitting.get(key);
    const submitted = (before ?? Promise.resolve()).then(() => this.#submit({ config, key, by }, beginning));
    const settled = submitted.then(
      () => undefined,
      () => undefined,
    );
    this.#submitting.set(key, settled);
    void settled.then(() => {
      if (this.#submitting.get(key) === settled) this.#submitting.delete(key);
    });
    return submitted;
  }

  async #submit(
    { config, key, by }: Submission & { readonly key: string },
    { events, told }: Beginning,
  ): Promise<RunEngine> {
    const same = [...this.#engines.values()].find(({ row }) => row.key === key);
    if (same !== undefined) {
      if (canonicalJson(same.row.config) === canonicalJson(config)) return same;
      throw new FedloomError(
        "F4019",
        `Cannot submit run "${config.name}" under key "${key}": run "${same.row.id}" has it, with another configuration`,
        { run: same.row.id },
      );
    }
    const row = { id: this.#newId(), key, config, createdAtMs: this.parts.clock.now() };
    const stored = events.map((event, i) => ({ seq: i + 1, atMs: row.createdAtMs, event }));
    const entry = by === undefined ? undefined : { atMs: row.createdAtMs, who: by, what: told(row.id) };
    await this.parts.store.createRun(row, stored, entry);
    this.log.info("Run submitted", { run: row.id, name: config.name, rounds: config.rounds });
    if (entry !== undefined) this.#tell(entry);
    return this.#take(row);
  }

  /**
   * A new run that goes on from a round of another one: the same round numbers, so that with the same configuration,
   * seed and clients it comes to the same end.
   *
   * @throws FedloomError F4021 for a round that is not kept, F4007 where no round is left
   */
  async fork(id: string, round: number, submission: Submission): Promise<RunEngine> {
    const { run } = this.engine(id);
    const { rounds } = submission.config;
    const found = run.kept.find((entry) => entry.round === round);
    if (found === undefined) {
      const kept = run.kept.map((entry) => entry.round).join(", ");
      throw new FedloomError(
        "F4021",
        `Cannot fork run "${id}" at round ${round}: kept are those of rounds ${kept}`,
        {
          run: id,
          round,
        },
      );
    }
    if (rounds <= round) {
      throw new FedloomError(
        "F4007",
        `Cannot fork run "${id}" at round ${round}: rounds must be above ${round}, got ${rounds}`,
        { run: id, round, rounds },
      );
    }
    const { global, state, baseDelta } = found;
    const side = baseDelta === undefined ? {} : { baseDelta };
    const prepared = { type: "prepared", base: run.base, global, state, ...side, after: round } as const;
    return this.#begin(submission, {
      events: [prepared],
      told: (forked) => `forked run ${id} at round ${round} into run ${forked}`,
    });
  }

  /** Adds to the audit trail. */
  async note(who: string, what: string): Promise<void> {
    const entry = { atMs: this.parts.clock.now(), who, what };
    await this.parts.store.trail.add(entry);
    this.#tell(entry);
  }

  #tell({ who, what }: AuditEntry): void {
    this.log.info("Audit", { who, what });
  }

  /** In order of submission. */
  runs(): readonly RunEngine[] {
    return [...this.#engines.values()];
  }

  /** @throws FedloomError F4006 for a run that there is not */
  engine(id: string): RunEngine {
    const engine = this.#engines.get(id);
    if (engine !== undefined) return engine;
    throw new FedloomError("F4006", `Cannot find run "${id.slice(0, 64)}": there is none of this id`, {
      run: id,
    });
  }

  stop(id: string, { now }: { readonly now: boolean }): Promise<unknown> {
    return this.engine(id).submit({ type: "stop", now });
  }

  resume(id: string): Promise<unknown> {
    return this.engine(id).submit({ type: "resume" });
  }

  /** What a client says went wrong, or what was wrong with its result. Of a task that is not open, nothing is noted. */
  async noteFailure(client: string, taskId: string, failure: Failure): Promise<void> {
    const name = parseTaskId(taskId);
    const engine = name === undefined ? undefined : this.#engines.get(name.run);
    if (name?.client !== client || engine === undefined) return;
    const { round } = name;
    this.log.warn("Client failed", { run: name.run, client, round, ...failure });
    try {
      if (name.kind === "evaluate")
        await engine.submit({ type: "client evaluated", round, client, reply: failure });
      else await engine.submit({ type: "round", round, command: { type: "fail", client, failure } });
    } catch (error) {
      // The round is over, or the client is none of its members: then nobody waits for it either.
      if (!(error instanceof FedloomError && error.code === "F4011")) throw error;
    }
  }

  /** Calls back when a client reports progress. @returns takes it back */
  watchProgress(listener: (client: string) => void): () => void {
    this.#progressListeners.add(listener);
    return () => this.#progressListeners.delete(listener);
  }

  onProgress(client: string): void {
    for (const listener of this.#progressListeners) listener(client);
  }

  /** Ends the connection and the tasks of a client that may not take part any more. */
  shutOut(client: string): void {
    const refusal = new FedloomError("F5014", `Cannot serve client "${client}": it was revoked`, { client });
    this.parts.presence.session(client)?.end(refusal);
    this.parts.dispatcher.lose(client, { code: refusal.code, message: "the site was revoked" });
  }

  /** Stops all work, ends all connections, and closes the store. What was acknowledged is on disk already. */
  async close(): Promise<void> {
    const { presence, dispatcher, store } = this.parts;
    for (const engine of this.#engines.values()) engine.close();
    dispatcher.close();
    for (const client of presence.known()) {
      presence.session(client)?.end(new FedloomError("F5001", "The coordinator shuts down"));
    }
    await this.#closeSightings();
    await store.close();
  }

  async #sweep(): Promise<void> {
    // A restored journal must find its blobs.
    if (this.runs().some(({ damaged }) => damaged)) return;
    const runs = this.runs().map(({ run }) => run);
    try {
      const deleted = await this.#sweeper.sweep(runs, this.parts.dispatcher.inUse());
      if (deleted > 0) this.log.debug("Blobs deleted", { deleted });
    } catch (error) {
      this.log.warn("Blobs cannot be swept", { reason: messageOf(error) });
    }
  }

  async #take(row: RunRow): Promise<RunEngine> {
    const { runsDirectory, samplers, ...parts } = this.parts;
    const directory = runsDirectory === undefined ? undefined : join(runsDirectory, row.id);
    const engine = new RunEngine(row, {
      ...parts,
      directory,
      samplers: { seeded: seededSampler, ...samplers },
      onBroken: (error) => {
        for (const other of this.#engines.values()) other.close();
        this.#broken.reject(error);
      },
    });
    this.#engines.set(row.id, engine);
    engine.onEvent(({ event }) => {
      if (event.type !== "published") return;
      this.parts.betweenRounds?.();
      void this.#sweep();
    });
    try {
      await engine.start();
    } catch (error) {
      if (!(error instanceof FedloomError) || error.status !== "data_loss") throw error;
      this.log.error("Run set aside", { run: row.id, code: error.code, reason: error.message });
      engine.setAside(error);
    }
    return engine;
  }

  /** Seven letters and digits that nobody confuses; 32^7 ids, checked against those in use. */
  #newId(): string {
    const alphabet = "abcdefghjkmnpqrstuvwxyz023456789";
    for (;;) {
      const id = [...randomBytes(7)].map((byte) => alphabet[byte % 32]).join("");
      if (!this.#engines.has(id)) return id;
    }
  }
}
