/** The tasks that a node was given and has not finished, each with the signal that calls it off. */
import type { CancelTask, Task } from "../proto/gen/fedloom/v1/fleet_pb.ts";

export interface WorkItem {
  readonly task: Task;
  /** Aborts when the task is cancelled or the node ends. */
  readonly signal: AbortSignal;
}

export interface WorkList extends AsyncIterable<WorkItem> {
  /** @returns false if the task was there already */
  add(task: Task): boolean;
  /** @returns false if there is no such task */
  cancel(cancel: CancelTask): boolean;
  done(item: WorkItem): void;
  ids(): readonly string[];
}

/** Tasks in the order they came; ends with `ending`. */
export function createWorkList(ending: AbortSignal): WorkList {
  const items = new Map<string, { item: WorkItem; controller: AbortController }>();
  let wake = (): void => {};
  ending.addEventListener("abort", () => wake(), { once: true });
  return {
    add(task) {
      if (items.has(task.taskId)) return false;
      const controller = new AbortController();
      items.set(task.taskId, {
        item: { task, signal: AbortSignal.any([controller.signal, ending]) },
        controller,
      });
      wake();
      return true;
    },
    cancel({ taskId, code, reason }) {
      const found = items.get(taskId);
      if (found === undefined) return false;
      found.controller.abort(new Error(`Task ${taskId} was cancelled (${code}): ${reason}`));
      return true;
    },
    done: ({ task }) => void items.delete(task.taskId),
    ids: () => [...items.keys()],
    async *[Symbol.asyncIterator]() {
      while (!ending.aborted) {
        const next = items.values().next().value;
        if (next === undefined) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          continue;
        }
        yield next.item;
      }
    },
  };
}
