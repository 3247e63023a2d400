/** One task, from its options to a result on the client's disk. Sending the result is deliver.ts. */
import { create } from "@bufbuild/protobuf";
import {
  type SubmitResultRequest,
  SubmitResultRequestSchema,
  type Task,
} from "../proto/gen/fedloom/v1/fleet_pb.ts";
import { evaluate } from "./evaluate-task.ts";
import { fetchInputs, parseOptions, requireSameBase } from "./task-inputs.ts";
import { train } from "./train-task.ts";
import type { WorkControl, Workplace } from "./workplace.ts";

/** @throws FedloomError for whatever keeps the task from being done; the signal's reason once it aborts */
export async function doTask(
  task: Task,
  place: Workplace,
  control: WorkControl,
): Promise<SubmitResultRequest> {
  const startedMs = place.clock.monotonic();
  const options = parseOptions(task);
  requireSameBase(task, place.trainer);
  control.onPhase("fetch");
  const inputs = await fetchInputs(task, place, control);
  const result =
    options.kind === "train"
      ? await train(task, options, inputs, place, control)
      : await evaluate(task, options, inputs, place, control);
  const submission = create(SubmitResultRequestSchema, {
    ...result,
    clientId: place.state.clientId,
    taskId: task.taskId,
    runId: task.runId,
    round: task.round,
    trainedFrom: inputs.globalSha256,
    durationMs: BigInt(Math.round(place.clock.monotonic() - startedMs)),
    dataFingerprint: options.kind === "train" ? (place.dataFingerprint ?? "") : "",
  });
  place.state.keep(submission);
  return submission;
}
