/**
 * One run at work. Commands are decided one after another, their events go to disk in one commit, and only then
 * does anyone hear of them; work is whatever the state calls for, begun when it appears and called off when it goes.
 * The same holds after a restart, which reads the journal and looks at what there is to do.
 */
import { FedloomError, messageOf } from "../base/errors.ts";
import { failpoint } from "../base/failpoint.ts";
import { durationMs } from "../config/duration.ts";
import { noData, noteData } from "./data-used.ts";
import { type RoundRecord, recordOf, type Times, timesAfter } from "./history.ts";
import type { RunRow, StoredEvent } from "./journal/store.ts";
import type { Start } from "./records.ts";
import { apply } from "./run/apply.ts";
import { decide } from "./run/decide.ts";
import { newest, newRun, type Run, type RunCommand, type RunEvent, type RunWork } from "./run/state.ts";
import { todo } from "./run/todo.ts";
import { perform } from "./work/perform.ts";
import type { EngineParts, Place } from "./work/place.ts";
import { lineOf, startFiles } from "./work/publish.ts";
import { type Materials, readMaterials } from "./work/task.ts";

interface Waiting {
  readonly command: RunCommand;
  readonly resolve: (events: readonly RunEvent[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Given to every abort: without it each makes an error with a stack of its own, and a round of thousands pays for that. */
const GONE = "the work is gone";

export class RunEngine implements Place {
  readonly parts: EngineParts;
  readonly row: RunRow;
  run: Run;
  rounds: RoundRecord[] = [];
  publishedBytes = 0;
  readonly dataUsed = noData();
  /** Its journal cannot be read: what it refers to is not known. */
  damaged = false;
  /** When the open round's time is over, by the monotonic clock. */
  deadlineAtMs = 0;
  #seq = 0;
  #times: Times = { openedAtMs: 0, lastAtMs: 0 };
  #waiting: Waiting[] = [];
  #draining = false;
  #closed = false;
  #refusal: FedloomError | undefined;
  #materials: { readonly of: string; readonly value: Promise<Materials> } | undefined;
  readonly #work = new Map<string, { readonly controller: AbortController; wantedAtSeq: number }>();
  /** Keys of the offers of the place that was asked for last, by client. */
  #offerKeys = new Map<string, string>();
  #offerPlace = "";
  readonly #listeners = new Set<(event: StoredEvent) => void>();

  constructor(row: RunRow, parts: EngineParts) {
    this.row = row;
    this.parts = parts;
    this.run = newRun(row.id, row.config);
  }

  readonly idleMs = (): number => durationMs(this.row.config.cohort.idle);

  /** Reads the journal and takes up the work. */
  async start(): Promise<void> {
    for (const stored of await this.parts.store.read(this.row.id))
      this.#follow(stored, apply(this.run, stored.event));
    for (const client of this.run.population) this.parts.presence.expectBack(client);
    if (this.parts.directory !== undefined) await startFiles(this.parts.directory, this);
    this.#reconcile();
  }

  get times(): Times {
    return this.#times;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get seq(): number {
    return this.#seq;
  }

  /**
   * Decides a command and brings its events to disk.
   *
   * @returns the events, none for a repeat
   * @throws FedloomError where the command is refused
   */
  submit(command: RunCommand): Promise<readonly RunEvent[]> {
    if (this.#closed) return Promise.reject(this.#refusal);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ command, resolve, reject });
      if (!this.#draining) void this.#drain();
    });
  }

  /** Calls back with every event from now on, after it is on disk. @returns takes it back */
  onEvent(listener: (event: StoredEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What tasks from this start are made from. Kept in memory is what the newest ones share, not what is under way. */
  materials(start: Start): Promise<Materials> {
    const of = keyOfStart(start);
    if (this.#materials?.of === of) return this.#materials.value;
    const value = readMaterials(this.run, this.parts.blobs, start);
    if (of === keyOfStart(newest(this.run))) this.#materials = { of, value };
    return value;
  }

  /**
   * Shows the run as stopped for a journal that cannot be read, and leaves everything on disk as it is: other runs
   * go on, and this one may when its journal is restored.
   */
  setAside({ code, message }: FedloomError): void {
    this.damaged = true;
    this.run = { ...this.run, stopped: { code, reason: message } };
    this.close(new FedloomError(code, message));
  }

  /** Calls off all work and forgets it; the journal has what matters. */
  close(refusal = new FedloomError("F5001", "The coordinator shuts down")): void {
    this.#closed = true;
    this.#refusal = refusal;
    for (const { reject } of this.#waiting.splice(0)) reject(refusal);
    for (const { controller } of this.#work.values()) controller.abort(GONE);
    this.#work.clear();
  }

  /** Everything that waits is decided and committed together: a thousand updates cost a few syncs, not a thousand. */
  async #drain(): Promise<void> {
    this.#draining = true;
    while (this.#waiting.length > 0 && !this.#closed) {
      const batch = this.#waiting.splice(0);
      const decided: { readonly waiting: Waiting; readonly events: readonly RunEvent[] }[] = [];
      const stored: StoredEvent[] = [];
      /** The run after each of them. */
      const states: Run[] = [];
      const atMs = this.parts.clock.now();
      let run = this.run;
      for (const waiting of batch) {
        try {
          const events = decide(run, waiting.command);
          for (const event of events) {
            run = apply(run, event);
            states.push(run);
            stored.push({ seq: this.#seq + stored.length + 1, atMs, event });
          }
          decided.push({ waiting, events });
        } catch (error) {
          waiting.reject(error);
        }
      }
      try {
        if (stored.length > 0) await this.parts.store.append(this.row.id, this.#seq, stored);
      } catch (error) {
        for (const { waiting } of decided) waiting.reject(error);
        this.#draining = false;
        this.close();
        this.parts.onBroken(error);
        return;
      }
      for (const [i, event] of stored.entries()) {
        const changed = this.#follow(event, states[i]!);
        if (changed === undefined) continue;
        const fields = { run: this.row.id, round: this.run.number, client: changed };
        this.parts.log.warn("The data of a client is not what it was in an earlier round", fields);
      }
      for (const { waiting, events } of decided) waiting.resolve(events);
      for (const event of stored) for (const listener of this.#listeners) listener(event);
      if (stored.length > 0) this.#reconcile();
    }
    this.#draining = false;
  }

  /** @returns the client whose data changed with this event */
  #follow(stored: StoredEvent, after: Run): string | undefined {
    // A published round's record is made from the state that it is about to leave.
    if (stored.event.type === "published") {
      const record = recordOf(this.run, this.#times);
      this.rounds.push(record);
      this.publishedBytes += Buffer.byteLength(lineOf(record));
    }
    this.#times = timesAfter(this.#times, stored);
    const changed = noteData(this.dataUsed, this.run, stored.event);
    this.run = after;
    this.#seq = stored.seq;
    return changed;
  }

  /** Begins the work that is new and calls off the work that is gone: after every update, in a round of thousands. */
  #reconcile(): void {
    if (this.#closed) return;
    const wantedAtSeq = this.#seq;
    const place = `${this.run.number}.${this.run.attempt}`;
    const fresh: (readonly [key: string, work: RunWork])[] = [];
    for (const work of todo(this.run)) {
      const key = this.#keyOf(work, place);
      const under = this.#work.get(key);
      if (under === undefined) fresh.push([key, work]);
      else under.wantedAtSeq = wantedAtSeq;
    }
    this.#work.forEach((under, key) => {
      if (under.wantedAtSeq === wantedAtSeq) return;
      this.#work.delete(key);
      under.controller.abort(GONE);
    });
    for (const [key, work] of fresh) {
      const controller = new AbortController();
      this.#work.set(key, { controller, wantedAtSeq });
      this.#begin(work, controller.signal);
    }
  }

  #begin(work: RunWork, signal: AbortSignal): void {
    Promise.try(() => perform(this, work, signal))
      .then((command) => {
        if (command === undefined || signal.aborted) return undefined;
        if (command.type === "choose") failpoint("server.cohort-chosen");
        return this.submit(command);
      })
      .catch((error: unknown) => {
        if (signal.aborted || this.#closed) return;
        this.parts.log.error("Work failed", { run: this.row.id, work: work.kind, reason: messageOf(error) });
        const { code, message } =
          error instanceof FedloomError
            ? error
            : new FedloomError("F4017", `Cannot ${work.kind} round ${this.run.number}: ${messageOf(error)}`);
        // The refusal of a "work failed" would be a programming mistake; a broken store has been told already.
        this.submit({ type: "work failed", code, message }).catch(() => undefined);
      });
  }

  /** The same work has the same name from one state to the next; a new attempt's is new. */
  #keyOf(work: RunWork, place: string): string {
    switch (work.kind) {
      case "choose":
        return `${work.kind} ${place} ${work.draw ?? ""} ${work.keep.join(" ")}`;
      case "offer":
        // An asynchronous run's task goes on while rounds come and go.
        return work.draw === undefined ? this.#offerKey(place, work.client) : `${work.kind} #${work.draw}`;
      case "offer evaluation":
        return `${work.kind} ${place} ${work.client}`;
      case "wake":
        return `${work.kind} ${place} ${work.over}`;
      default:
        return `${work.kind} ${place}`;
    }
  }

  /** The same string each time: a map finds it without looking at its characters. */
  #offerKey(place: string, client: string): string {
    if (this.#offerPlace !== place) {
      this.#offerPlace = place;
      this.#offerKeys = new Map();
    }
    const key = this.#offerKeys.get(client) ?? `offer ${place} ${client}`;
    this.#offerKeys.set(client, key);
    return key;
  }
}

function keyOfStart({ global, state }: Start): string {
  return `${global.model.sha256} ${state.sha256}`;
}
