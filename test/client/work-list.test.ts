import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { createWorkList, type WorkItem } from "../../client/work-list.ts";
import { CancelTaskSchema, TaskSchema } from "../../proto/gen/fedloom/v1/fleet_pb.ts";

const task = create(TaskSchema, { taskId: "r/1/train/c" });
const cancel = create(CancelTaskSchema, { taskId: "r/1/train/c", code: "F4011", reason: "the run stopped" });

/** The list's items, one a call. */
function reader(list: AsyncIterable<WorkItem>): () => Promise<WorkItem> {
  const items = list[Symbol.asyncIterator]();
  return async () => {
    const next = await items.next();
    if (next.done === true) throw new Error("the list ended");
    return next.value;
  };
}

test("a task that comes twice is there once", () => {
  const list = createWorkList(new AbortController().signal);
  expect([list.addTask(task), list.addTask(task)]).toEqual([true, false]);
});

test("a task that was cancelled and is offered anew before its work has noticed is worked on again", async () => {
  const list = createWorkList(new AbortController().signal);
  const next = reader(list);
  list.addTask(task);
  const first = await next();
  list.cancel(cancel);
  expect(list.addTask(task)).toBe(true);
  expect(first.kind === "task" && first.signal.aborted).toBe(true);
  const second = await next();
  expect(second.kind === "task" && second.signal.aborted).toBe(false);
  expect(list.taskIds()).toEqual([task.taskId]);
});

test("what is under way is called off when the node ends", async () => {
  const ending = new AbortController();
  const list = createWorkList(ending.signal);
  list.addTask(task);
  const under = await reader(list)();
  ending.abort("the node ends");
  expect(under.kind === "task" && under.signal.reason).toBe("the node ends");
});
