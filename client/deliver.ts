/** Brings a kept result to the coordinator: blobs first, then the offer; forgotten when that is answered. */
import { FedloomError } from "../base/errors.ts";
import { failpoint } from "../base/failpoint.ts";
import type { Fleet } from "../proto/fleet.ts";
import {
  type BlobRef,
  type SubmitResultRequest,
  type SubmitResultResponse,
  Verdict,
} from "../proto/gen/fedloom/v1/fleet_pb.ts";
import { type Persistence, untilAnswered, whileMoving } from "./persistence.ts";
import type { ClientState } from "./state.ts";
import type { Transfer } from "./transfer.ts";

export type Delivery =
  | { readonly kind: "accepted" }
  | { readonly kind: "late"; readonly reason: string }
  | { readonly kind: "refused"; readonly code: string; readonly reason: string }
  /** Nothing was decided: the result stays kept until the coordinator offers the task again or cancels it. */
  | { readonly kind: "unasked"; readonly reason: string };

export interface DeliveryControl {
  readonly signal: AbortSignal;
  readonly idleMs: number;
  onProgress(doneBytes: number, totalBytes: number): void;
}

export function blobsOf(
  result: Pick<SubmitResultRequest, "adapterConfig" | "adapterModel" | "extras">,
): readonly BlobRef[] {
  return [result.adapterConfig, result.adapterModel, ...Object.values(result.extras)].filter(
    (ref) => ref !== undefined,
  );
}

/**
 * @param open whether the task is open: for a closed one no blob is sent, only the offer, for the record
 * @throws the signal's reason once it aborts; the result then stays kept
 */
export async function deliver(
  result: SubmitResultRequest,
  open: boolean,
  place: {
    readonly fleet: Fleet;
    readonly state: ClientState;
    readonly transfer: Transfer;
    readonly persistence: Persistence;
  },
  control: DeliveryControl,
): Promise<Delivery> {
  const { fleet, state, transfer, persistence } = place;
  const delivery = await attempt();
  if (delivery.kind !== "unasked") state.settle(result.taskId);
  return delivery;

  async function pushAll(): Promise<void> {
    const blobs = blobsOf(result).map(({ sha256, size }) => ({ sha256, size: Number(size) }));
    const totalBytes = blobs.reduce((sum, { size }) => sum + size, 0);
    let beforeBytes = 0;
    for (const blob of blobs) {
      await transfer.push(blob, result.taskId, {
        ...control,
        onProgress: (done) => control.onProgress(beforeBytes + done, totalBytes),
      });
      beforeBytes += blob.size;
    }
  }

  async function attempt(): Promise<Delivery> {
    try {
      // A closed task that was opened again, or blobs that were lost there: then the answer is that they are missing.
      let whole = open;
      const answer = await untilAnswered(
        async () => {
          if (whole) await pushAll().catch(unlessOver);
          try {
            return await whileMoving(
              "submitting a result",
              control.idleMs,
              control.signal,
              persistence.clock,
              (signal) => fleet.submitResult(result, signal),
            );
          } catch (error) {
            whole ||= error instanceof FedloomError && error.code === "F5011";
            throw error;
          }
        },
        control.signal,
        persistence,
      );
      failpoint("client.submitted");
      return read(answer);
    } catch (error) {
      if (control.signal.aborted || !(error instanceof FedloomError)) throw error;
      // A coordinator that was just started again may not have come to this task yet.
      if (open && error.code === "F4011") return { kind: "unasked", reason: error.message };
      // Whatever else it refuses now it will refuse tomorrow: keeping the result would only fill the disk.
      return { kind: "refused", code: error.code, reason: error.message };
    }
  }
}

/** A task that ended in mid-upload gets no more blobs; its result is offered all the same, for the record. */
function unlessOver(error: unknown): void {
  if (!(error instanceof FedloomError && error.code === "F4026")) throw error;
}

function read({ verdict, code, reason }: SubmitResultResponse): Delivery {
  if (verdict === Verdict.ACCEPTED || verdict === Verdict.REPEATED) return { kind: "accepted" };
  if (verdict === Verdict.LATE) return { kind: "late", reason };
  return { kind: "refused", code, reason: reason || `the coordinator answered with verdict ${verdict}` };
}
