/**
 * Blobs from the coordinator and to it: in chunks, going on at the byte where the connection broke, checked
 * against their hash, and each fetched once.
 */
import { create } from "@bufbuild/protobuf";
import { FedloomError } from "../base/errors.ts";
import { failpoint } from "../base/failpoint.ts";
import type { Fleet } from "../proto/fleet.ts";
import {
  FetchBlobRequestSchema,
  type PushBlobRequest,
  PushBlobRequestSchema,
  StatBlobRequestSchema,
} from "../proto/gen/fedloom/v1/fleet_pb.ts";
import type { BlobName, ClientBlobs } from "./blobs.ts";
import { type Persistence, untilAnswered, whileMoving } from "./persistence.ts";

/** A blob that is damaged so often is damaged at its source. */
const ATTEMPTS_AT_DAMAGED = 3;

export interface TransferControl {
  readonly signal: AbortSignal;
  readonly idleMs: number;
  onProgress(doneBytes: number, totalBytes: number): void;
}

export interface Transfer {
  /** Resolves when the blob is in the client's store; at once if it was. @throws F5106 if it stays damaged */
  fetch(blob: BlobName, control: TransferControl): Promise<void>;
  /** Resolves when the coordinator has the blob on disk. */
  push(blob: BlobName, taskId: string, control: TransferControl): Promise<void>;
}

export function createTransfer(
  fleet: Fleet,
  blobs: ClientBlobs,
  clientId: string,
  persistence: Persistence,
): Transfer {
  const { clock } = persistence;

  const fetchRest = async (
    blob: BlobName,
    control: TransferControl,
    worked: () => void,
    signal: AbortSignal,
    moved: () => void,
  ): Promise<void> => {
    const receiver = await blobs.receive(blob);
    let done = receiver.offset;
    try {
      if (done < blob.size) {
        const request = create(FetchBlobRequestSchema, {
          sha256: blob.sha256,
          offset: BigInt(done),
          clientId,
        });
        for await (const { offset, data } of fleet.fetchBlob(request, signal)) {
          if (Number(offset) !== done || done + data.length > blob.size) throw misplaced(blob, done, offset);
          await receiver.append(data);
          done += data.length;
          moved();
          worked();
          control.onProgress(done, blob.size);
        }
        signal.throwIfAborted();
        if (done < blob.size) throw cutOff(blob, done);
      }
    } catch (error) {
      await receiver.suspend();
      throw error;
    }
    await receiver.finish();
  };

  return {
    async fetch(blob, control) {
      for (let attempt = 1; !blobs.has(blob); attempt++) {
        try {
          await untilAnswered(
            (worked) =>
              whileMoving(
                `fetching blob ${blob.sha256}`,
                control.idleMs,
                control.signal,
                clock,
                (signal, moved) => fetchRest(blob, control, worked, signal, moved),
              ),
            control.signal,
            persistence,
          );
        } catch (error) {
          const damaged = error instanceof FedloomError && error.code === "F5106";
          if (!damaged || attempt >= ATTEMPTS_AT_DAMAGED) throw error;
        }
      }
    },

    push: (blob, taskId, control) =>
      untilAnswered(
        (worked) =>
          whileMoving(
            `pushing blob ${blob.sha256}`,
            control.idleMs,
            control.signal,
            clock,
            async (signal, moved) => {
              const stat = await fleet.statBlob(
                create(StatBlobRequestSchema, { sha256: blob.sha256, clientId }),
                signal,
              );
              moved();
              if (stat.complete) return;
              const from = Number(stat.held);
              const onChunk = (done: number): void => {
                moved();
                worked();
                control.onProgress(done, blob.size);
              };
              await fleet.pushBlob(pushRequests(blobs, blob, from, clientId, taskId, onChunk), signal);
              failpoint("client.blob-pushed");
            },
          ),
        control.signal,
        persistence,
      ),
  };
}

async function* pushRequests(
  blobs: ClientBlobs,
  blob: BlobName,
  from: number,
  clientId: string,
  taskId: string,
  onChunk: (done: number) => void,
): AsyncGenerator<PushBlobRequest> {
  const header = {
    blob: { sha256: blob.sha256, size: BigInt(blob.size) },
    offset: BigInt(from),
    clientId,
    taskId,
  };
  yield create(PushBlobRequestSchema, { message: { case: "header", value: header } });
  let done = from;
  for await (const data of blobs.chunks(blob, from)) {
    yield create(PushBlobRequestSchema, { message: { case: "chunk", value: { data } } });
    done += data.length;
    onChunk(done);
    failpoint("client.chunk-pushed");
  }
}

function misplaced(blob: BlobName, done: number, offset: bigint): FedloomError {
  return new FedloomError(
    "F5003",
    `Cannot fetch blob ${blob.sha256} of ${blob.size} bytes: byte ${done} was due, the coordinator sent bytes from ${offset} on`,
    { wanted: done, got: Number(offset) },
  );
}

function cutOff(blob: BlobName, done: number): FedloomError {
  return new FedloomError(
    "F5001",
    `Cannot fetch blob ${blob.sha256}: the coordinator ended the transfer at ${done} of ${blob.size} bytes`,
    { done },
  );
}
