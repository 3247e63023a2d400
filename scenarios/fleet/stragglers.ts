/** `fleet.stragglers`: a client that is too slow for a round reports so in place of training. Nobody waits for it. */
import { create } from "@bufbuild/protobuf";
import type { FedloomError } from "../../base/errors.ts";
import type { Fleet } from "../../proto/fleet.ts";
import { ReportFailureRequestSchema, TaskKind } from "../../proto/gen/fedloom/v1/fleet_pb.ts";

/**
 * The coordinator as a client sees it that is late in some rounds.
 *
 * @param lateness why the client misses the round's deadline, undefined where it does not
 */
export function missingDeadlines(
  fleet: Fleet,
  clientId: string,
  lateness: (round: number) => FedloomError | undefined,
): Fleet {
  return {
    ...fleet,
    async *connect(requests, signal) {
      for await (const response of fleet.connect(requests, signal)) {
        const { message } = response;
        const task =
          message.case === "task" && message.value.kind === TaskKind.TRAIN ? message.value : undefined;
        const late = task && lateness(task.round);
        if (task === undefined || late === undefined) {
          yield response;
          continue;
        }
        const { code, message: text } = late;
        const report = { clientId, taskId: task.taskId, phase: "deadline", code, message: text };
        await fleet.reportFailure(create(ReportFailureRequestSchema, report), signal);
      }
    },
  };
}
