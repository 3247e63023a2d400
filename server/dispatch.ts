/**
 * Open tasks by client: one at a time is handed out, on every new connection again, until it is settled. The one
 * place that watches whether a task moves: progress and bytes do, heartbeats do not.
 */
import { create } from "@bufbuild/protobuf";
import type { Clock } from "../base/clock.ts";
import { type ConnectResponse, ConnectResponseSchema, type Task } from "../proto/gen/fedloom/v1/fleet_pb.ts";
import { afterAwake } from "./awake.ts";
import { unread } from "./peer-refusals.ts";
import type { Presence, Session } from "./presence.ts";
import type { Failure } from "./records.ts";

export interface Offer {
  readonly taskId: string;
  readonly client: string;
  readonly idleMs: number;
  /** Built when its turn comes. */
  build(): Promise<Task>;
  /** The task will not be done: it stood still, or its client was shut out. */
  onLost(failure: Failure): void;
  onError(error: unknown): void;
}

/** What a client does, for screens. */
export interface Activity {
  readonly taskId: string;
  readonly phase: string;
  readonly done: number;
  readonly total: number;
  readonly metrics: Readonly<Record<string, number>>;
}

interface Turn {
  readonly offer: Offer;
  task: Task | undefined;
  /** Resolves when the task is built or cannot be. */
  built: Promise<void>;
  lastMovedMs: number;
  activity: Activity;
  stopTimer: () => void;
  /** Aborts when nothing more of the task is to be transferred. */
  readonly over: AbortController;
  readonly uploads: Map<string, number>;
}

/** A task in hand. */
export interface InHand {
  readonly task: Task;
  /** Aborts, without a reason of its own, when nothing more of it is to be transferred. */
  readonly over: AbortSignal;
  /** Sizes of the blobs that were uploaded for it, or were begun to be, by their hash. */
  readonly uploads: Map<string, number>;
}

/** Given to every abort: without it each makes an error with a stack of its own. */
const OVER = "the task is over";

export class Dispatcher {
  readonly #clock: Clock;
  readonly #presence: Presence;
  /** Per client in order of arrival; the first one is the turn. */
  readonly #offers = new Map<string, Offer[]>();
  readonly #turns = new Map<string, Turn>();

  constructor(clock: Clock, presence: Presence) {
    this.#clock = clock;
    this.#presence = presence;
  }

  offer(offer: Offer): void {
    const queue = this.#offers.get(offer.client) ?? [];
    queue.push(offer);
    this.#offers.set(offer.client, queue);
    if (queue.length === 1) this.#begin(offer);
  }

  /**
   * Takes a task back, done or not. A client that is still at it is told to stop where there is a reason to tell; what
   * is under way of a task that is `over` is ended, whether the client hears or not.
   */
  withdraw(
    client: string,
    taskId: string,
    {
      reason,
      over,
    }: { readonly reason?: { code: string; text: string } | undefined; readonly over: boolean },
  ): void {
    const queue = this.#offers.get(client) ?? [];
    const at = queue.findIndex((offer) => offer.taskId === taskId);
    if (at < 0) return;
    queue.splice(at, 1);
    if (at > 0) return;
    const turn = this.#turns.get(client);
    turn?.stopTimer();
    this.#turns.delete(client);
    if (reason !== undefined)
      this.#presence.session(client)?.send(cancelOf(taskId, reason.code, reason.text));
    if (over) turn?.over.abort(OVER);
    if (queue[0] === undefined) this.#offers.delete(client);
    else this.#begin(queue[0]);
  }

  /** A new connection: hands out the turn's task, and cancels what the client holds and nobody wants any more. */
  connected(session: Session, held: readonly string[]): void {
    const open = new Set(this.#offers.get(session.client)?.map(({ taskId }) => taskId));
    for (const taskId of held) {
      if (!open.has(taskId)) session.send(cancelOf(taskId, "F4011", "the task is not open any more"));
    }
    const turn = this.#turns.get(session.client);
    if (turn === undefined) return;
    turn.lastMovedMs = this.#clock.monotonic();
    if (turn.task !== undefined) session.send(taskMessage(turn.task));
  }

  /** The task in hand, if it is this one. A client that is quicker than we after a restart waits for it here. */
  async task(client: string, taskId: string): Promise<InHand | undefined> {
    const turn = this.#turns.get(client);
    return turn?.offer.taskId === taskId ? inHand(turn) : undefined;
  }

  /** The task in hand, if the blob belongs to it. */
  async taskOfBlob(client: string, sha256: string): Promise<InHand | undefined> {
    const turn = this.#turns.get(client);
    const hand = turn === undefined ? undefined : await inHand(turn);
    return hand !== undefined && blobsOf(hand.task).includes(sha256) ? hand : undefined;
  }

  busy(client: string): boolean {
    return this.#turns.has(client);
  }

  /** Hashes of what tasks in hand were handed. */
  *inUse(): Generator<string> {
    for (const { task } of this.#turns.values()) {
      if (task !== undefined) yield* blobsOf(task);
    }
  }

  progress(client: string, activity: Activity): void {
    const turn = this.#turns.get(client);
    if (turn === undefined || turn.offer.taskId !== activity.taskId) return;
    const { phase, done } = turn.activity;
    if (phase !== activity.phase || done !== activity.done) turn.lastMovedMs = this.#clock.monotonic();
    turn.activity = activity;
  }

  /** Bytes of a transfer moved. */
  moved(client: string): void {
    const turn = this.#turns.get(client);
    if (turn !== undefined) turn.lastMovedMs = this.#clock.monotonic();
  }

  activity(client: string): Activity | undefined {
    return this.#turns.get(client)?.activity;
  }

  /** Gives up all tasks of a client. */
  lose(client: string, reason: Omit<Failure, "phase">): void {
    const phase = this.#turns.get(client)?.activity.phase ?? "offer";
    for (const offer of [...(this.#offers.get(client) ?? [])]) offer.onLost({ phase, ...reason });
  }

  close(): void {
    for (const turn of this.#turns.values()) turn.stopTimer();
    this.#turns.clear();
    this.#offers.clear();
  }

  #begin(offer: Offer): void {
    const activity = { taskId: offer.taskId, phase: "offer", done: 0, total: 0, metrics: {} };
    const turn: Turn = {
      offer,
      task: undefined,
      built: Promise.resolve(),
      lastMovedMs: this.#clock.monotonic(),
      activity,
      stopTimer: () => undefined,
      over: new AbortController(),
      uploads: new Map(),
    };
    this.#turns.set(offer.client, turn);
    this.#watch(turn, offer.idleMs);
    turn.built = offer.build().then(
      (task) => {
        if (this.#turns.get(offer.client) !== turn) return;
        turn.task = task;
        turn.lastMovedMs = this.#clock.monotonic();
        this.#presence.session(offer.client)?.send(taskMessage(task));
      },
      (error: unknown) => offer.onError(error),
    );
  }

  /** One timer a turn, set anew when it fires: a task that moves a thousand times a second costs nothing. */
  #watch(turn: Turn, afterMs: number): void {
    turn.stopTimer = afterAwake(this.#clock, afterMs, () => {
      const stillMs = this.#clock.monotonic() - turn.lastMovedMs;
      if (stillMs < turn.offer.idleMs) return this.#watch(turn, turn.offer.idleMs - stillMs);
      const { phase, done, total } = turn.activity;
      const session = this.#presence.session(turn.offer.client);
      const isDeaf = session?.reads() === false;
      const who = session === undefined ? "not connected and " : isDeaf ? "it does not read, and " : "";
      const where = total > 0 ? ` at ${done} of ${total}` : "";
      turn.offer.onLost({
        phase,
        code: "F4009",
        message: `${who}no progress${where} for ${turn.offer.idleMs / 1000} s (cohort.idle)`,
      });
      // Heartbeats alone would keep it among those who are drawn, round after round.
      if (isDeaf) session?.end(unread(turn.offer.client));
    });
  }
}

async function inHand(turn: Turn): Promise<InHand | undefined> {
  await turn.built;
  const { task, over, uploads } = turn;
  return task === undefined ? undefined : { task, over: over.signal, uploads };
}

function blobsOf({ adapterConfig, adapterModel, corrections }: Task): string[] {
  const refs = [adapterConfig, adapterModel, ...Object.values(corrections)];
  return refs.flatMap((ref) => (ref === undefined ? [] : [ref.sha256]));
}

function taskMessage(task: Task): ConnectResponse {
  return create(ConnectResponseSchema, { message: { case: "task", value: task } });
}

function cancelOf(taskId: string, code: string, reason: string): ConnectResponse {
  return create(ConnectResponseSchema, { message: { case: "cancel", value: { taskId, code, reason } } });
}
