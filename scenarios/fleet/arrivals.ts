/**
 * When the clients of an asynchronous fleet answer: in an order that is drawn, not measured, since they share one
 * trainer and take turns. Each task takes a drawn time, and answers are handed to the coordinator in the order of the
 * times at which they are finished, one after the other; its own work takes no time. So a run's seed decides which
 * update is how stale.
 *
 *   time of a task = slowness of the client's device · |N(0, 1)|
 *
 * Source: half-normal training times, as FedBuff's authors simulate them, https://arxiv.org/abs/2106.06581
 */
import { createRng } from "../../base/rng.ts";
import type { Fleet } from "../../proto/fleet.ts";
import type { SubmitResultResponse } from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import { clientOf, count, drawOf, type Members } from "../../server/round.ts";
import { openBuffer, type Run } from "../../server/run/state.ts";
import { todo } from "../../server/run/todo.ts";
import { parseTaskId } from "../../server/task-id.ts";

export interface Arrivals {
  /** The coordinator as one client sees it: results wait for their turn, failures do not. */
  of(fleet: Fleet): Fleet;
  /** Clients that must train before anything can go on; undefined while the next answer is there or not known yet. */
  wanted(): readonly string[] | undefined;
  /** Looks whose turn it is; to be called after every event of the run. */
  look(): void;
}

interface Task {
  readonly client: string;
  readonly finishedAt: number;
  /** Hands its result over. */
  release?: () => void;
}

/**
 * @param run as it is now; undefined before it is known
 * @param population clients that there are
 */
export function arrivalsInOrder(run: () => Run | undefined, { seed, population, slowness }: Drawn): Arrivals {
  const tasks = new Map<number, Task>();
  let now = 0;

  /** The tasks under way, with those that have just begun. */
  const underWay = (): Task[] => {
    const members: Members = openBuffer(run()!)?.members ?? new Map();
    const open = [...members].flatMap(([key, { status }]) => (status === "waiting" ? [key] : []));
    const draws = new Set(open.map(drawOf));
    for (const draw of tasks.keys()) if (!draws.has(draw)) tasks.delete(draw);
    for (const key of open) {
      const client = clientOf(key);
      const draw = drawOf(key)!;
      if (tasks.has(draw)) continue;
      const takes = slowness(client) * Math.abs(createRng(seed).fork("duration", draw).normal());
      tasks.set(draw, { client, finishedAt: now + takes });
    }
    return [...tasks.values()];
  };
  const next = (): Task | undefined =>
    underWay().reduce<Task | undefined>(
      (first, task) => (first !== undefined && first.finishedAt <= task.finishedAt ? first : task),
      undefined,
    );
  const look = (): void => {
    if (!isAtRest(run(), population)) return;
    const task = next();
    if (task?.release === undefined) return;
    now = task.finishedAt;
    const { release } = task;
    delete task.release;
    release();
  };
  return {
    look,
    wanted() {
      if (!isAtRest(run(), population)) return undefined;
      const first = next();
      if (first === undefined || first.release !== undefined) return undefined;
      return underWay().flatMap(({ client, release }) => (release === undefined ? [client] : []));
    },
    of: (fleet) => ({
      ...fleet,
      submitResult: (request, signal) =>
        new Promise<SubmitResultResponse>((resolve, reject) => {
          const release = (): void => void fleet.submitResult(request, signal).then(resolve, reject);
          signal.addEventListener("abort", () => reject(signal.reason), { once: true });
          const name = parseTaskId(request.taskId);
          if (run() !== undefined) underWay();
          const task = name?.kind === "train" ? tasks.get(name.round) : undefined;
          if (task === undefined) return release(); // nobody waits for it any more
          task.release = release;
          look();
        }),
    }),
  };
}

export interface Drawn {
  readonly seed: number;
  readonly population: number;
  slowness(client: string): number;
}

/** Nothing is aggregated, and everybody who can be drawn is at work. */
function isAtRest(run: Run | undefined, population: number): run is Run {
  if (run?.phase !== "collecting" || run.stopped !== undefined) return false;
  const choice = todo(run).find((work) => work.kind === "choose");
  const buffer = openBuffer(run);
  return (
    buffer !== undefined &&
    count(buffer, "waiting") > 0 &&
    (choice === undefined || choice.keep.length >= population)
  );
}
