/** What a node has to do, in the order it came: tasks to work on, and kept results that the coordinator asked for. */
import type { CancelTask, Task } from "../proto/gen/fedloom/v1/fleet_pb.ts";

export type WorkItem =
  | {
      readonly kind: "task";
      readonly taskId: string;
      readonly task: Task;
      /** Aborts when the task is cancelled or the node ends. */
      readonly signal: AbortSignal;
    }
  /** A finished result whose task was offered anew, or is not open any more and is offered for the record. */
  | { readonly kind: "kept"; readonly taskId: string; readonly open: boolean };

export interface WorkList extends AsyncIterable<WorkItem> {
  /** @returns false if the task was there already */
  addTask(task: Task): boolean;
  addKept(taskId: string, open: boolean): void;
  /** @returns false if there is no such task */
  cancel(cancel: CancelTask): boolean;
  taskIds(): readonly string[];
}

/** Ends with `ending`. */
export function createWorkList(ending: AbortSignal): WorkList {
  const tasks = new Map<string, AbortController>();
  const waiting: WorkItem[] = [];
  let wake = (): void => {};
  const end = (): void => {
    for (const controller of tasks.values()) controller.abort(ending.reason);
    wake();
  };
  ending.addEventListener("abort", end, { once: true });
  const put = (item: WorkItem): void => {
    waiting.push(item);
    wake();
  };
  return {
    addTask(task) {
      const { taskId } = task;
      // A cancelled task is still there until its work has noticed; offered anew meanwhile, it is a task again.
      if (tasks.get(taskId)?.signal.aborted === false) return false;
      const controller = new AbortController();
      if (ending.aborted) controller.abort(ending.reason);
      tasks.set(taskId, controller);
      put({ kind: "task", taskId, task, signal: controller.signal });
      return true;
    },
    addKept: (taskId, open) => put({ kind: "kept", taskId, open }),
    cancel({ taskId, code, reason }) {
      const controller = tasks.get(taskId);
      controller?.abort(new Error(`Task ${taskId} was cancelled (${code}): ${reason}`));
      return controller !== undefined;
    },
    taskIds: () => [...tasks.keys()],
    async *[Symbol.asyncIterator]() {
      while (!ending.aborted) {
        const next = waiting.shift();
        if (next !== undefined) {
          yield next;
          if (next.kind === "task" && tasks.get(next.taskId)?.signal === next.signal)
            tasks.delete(next.taskId);
          continue;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}
