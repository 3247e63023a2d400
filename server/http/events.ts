/** A run as it happens: the journal from any point on, and what its clients do now. */
import { MessageQueue } from "../../proto/streams.ts";
import type { Coordinator } from "../coordinator.ts";
import type { RunEngine } from "../engine.ts";
import type { StoredEvent } from "../journal/store.ts";
import { statusOf } from "../status.ts";
import type { Streamed } from "./schema.ts";

/** Between two pictures of the clients' progress; faster is nothing to an eye, and costs every operator's line. */
const STATUS_EVERY_MS = 500;

/** Ends when the run is over and everything was said, or when the signal aborts. */
export async function* watchRun(
  coordinator: Coordinator,
  engine: RunEngine,
  after: number,
  signal: AbortSignal,
): AsyncGenerator<Streamed> {
  const queue = new MessageQueue<StoredEvent | "status">();
  let waiting = false;
  let cancelTimer = (): void => undefined;
  // Many reports of many clients make one picture.
  const stopProgress = coordinator.watchProgress(() => {
    if (waiting) return;
    waiting = true;
    cancelTimer = coordinator.parts.clock.after(STATUS_EVERY_MS, () => {
      waiting = false;
      queue.push("status");
    });
  });
  // Listened to before the journal is read, so that nothing falls between the two.
  const stopEvents = engine.onEvent((event) => queue.push(event));
  const end = (): void => queue.end();
  signal.addEventListener("abort", end, { once: true });
  try {
    let seen = after;
    for (const stored of await engine.parts.store.read(engine.row.id, after)) {
      yield messageOf(stored);
      seen = stored.seq;
    }
    yield { kind: "status", status: statusOf(coordinator, engine) };
    if (over(engine)) return;
    for await (const next of queue) {
      if (next !== "status" && next.seq > seen) yield messageOf(next);
      yield { kind: "status", status: statusOf(coordinator, engine) };
      if (over(engine) && queue.length === 0) return;
    }
  } finally {
    signal.removeEventListener("abort", end);
    cancelTimer();
    stopProgress();
    stopEvents();
  }
}

/** A stopped run may be resumed, but nothing happens in it until then. */
function over({ run }: RunEngine): boolean {
  return run.phase === "finished" || run.stopped !== undefined;
}

function messageOf({ seq, atMs, event }: StoredEvent): Streamed {
  return { kind: "event", seq, atMs, event: { ...event } };
}
