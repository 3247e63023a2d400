/**
 * The coordinator as its clients see it: the six calls of proto/fleet.ts, for a peer over gRPC or in this process.
 * Everything a peer says is checked here, once; every refusal names the peer.
 */
import { create } from "@bufbuild/protobuf";
import { FedloomError, isCode } from "../base/errors.ts";
import { failpoint } from "../base/failpoint.ts";
import { NAME } from "../config/run.ts";
import { CHUNK_BYTES } from "../proto/channel.ts";
import type { Fleet, Peer } from "../proto/fleet.ts";
import {
  type FetchBlobResponse,
  FetchBlobResponseSchema,
  type PushBlobRequest,
  PushBlobResponseSchema,
  ReportFailureResponseSchema,
  StatBlobResponseSchema,
  SubmitResultResponseSchema,
  Verdict,
} from "../proto/gen/fedloom/v1/fleet_pb.ts";
import { untilAborted } from "../proto/streams.ts";
import type { InHand } from "./dispatch.ts";
import type { FleetHost } from "./fleet-host.ts";
import {
  MAX_CONFIG_BYTES,
  MAX_MESSAGE_CHARACTERS,
  MAX_UPLOADS,
  UPLOAD_FACTOR,
  UPLOAD_SLACK_BYTES,
  UPLOADS_FACTOR,
} from "./limits.ts";
import { broken, hashOf, refOf } from "./peer-refusals.ts";
import type { BlobRef } from "./records.ts";
import { hold } from "./standing.ts";
import { judge } from "./verdict.ts";

export function fleetFor(host: FleetHost, peer: Peer): Fleet {
  const { blobs, dispatcher } = host.parts;

  /** The caller's name, as far as its transport does not speak against it. */
  const nameOf = (claimed: string): string => {
    if (!NAME.test(claimed)) {
      throw new FedloomError(
        "F5005",
        `Cannot serve ${peer.address}: a client id must be 1 to 64 of A-Z a-z 0-9 . _ -, got ${JSON.stringify(claimed.slice(0, 80))}`,
        { peer: peer.address },
      );
    }
    if (peer.provenName !== undefined && peer.provenName !== claimed) {
      throw new FedloomError(
        "F5008",
        `Cannot serve ${peer.address} as client "${claimed}": its certificate says "${peer.provenName}"`,
        { peer: peer.address, claimed, proven: peer.provenName },
      );
    }
    return claimed;
  };

  return {
    connect: (requests, signal) => hold(host, { peer, nameOf, requests, signal }),

    fetchBlob({ clientId, sha256, offset }, signal) {
      const cut = new AbortController();
      async function* chunks(): AsyncGenerator<FetchBlobResponse> {
        const client = nameOf(clientId);
        const hand = await dispatcher.taskOfBlob(client, sha256);
        if (hand === undefined) {
          throw new FedloomError(
            "F5008",
            `Cannot hand blob ${sha256.slice(0, 64)} to client "${client}": it is not of the client's task in hand`,
            { client },
          );
        }
        const end = (): void => cut.abort(taskOver(client));
        hand.over.addEventListener("abort", end, { once: true });
        try {
          let at = Number(offset);
          for await (const data of blobs.read(sha256, at)) {
            if (signal.aborted) return;
            cut.signal.throwIfAborted();
            yield create(FetchBlobResponseSchema, { offset: BigInt(at), data });
            at += data.length;
            // Asked for the next chunk, the client has room for it: this one moved.
            dispatcher.moved(client);
          }
        } finally {
          hand.over.removeEventListener("abort", end);
        }
      }
      return Object.assign(chunks(), { cut: cut.signal });
    },

    async statBlob({ clientId, sha256 }) {
      const client = nameOf(clientId);
      const hash = hashOf(client, sha256);
      const complete = (await blobs.size(hash)) !== undefined;
      return create(StatBlobResponseSchema, {
        complete,
        held: complete ? 0n : BigInt(await blobs.held(client, hash)),
      });
    },

    async pushBlob(requests) {
      const messages = requests[Symbol.asyncIterator]();
      const first = await messages.next();
      const header = first.done === true ? undefined : first.value.message;
      if (header?.case !== "header") throw broken(peer.address, "an upload must begin with its header");
      const { clientId, taskId, blob, offset } = header.value;
      const client = nameOf(clientId);
      const ref = refOf(client, blob);
      const hand = await dispatcher.task(client, taskId);
      if (hand === undefined) {
        throw new FedloomError(
          "F4011",
          `Cannot take an upload of client "${client}" for task "${taskId.slice(0, 200)}": it is not the client's task in hand`,
          { client },
        );
      }
      const limit = Math.max(
        UPLOAD_FACTOR * Number(hand.task.adapterModel?.size ?? 0n) + UPLOAD_SLACK_BYTES,
        MAX_CONFIG_BYTES,
      );
      if (ref.size > limit) {
        throw new FedloomError(
          "F5007",
          `Cannot accept ${mebibytes(ref.size)} from client "${client}": the limit for this task is ${mebibytes(limit)}`,
          { client, size: ref.size, limit },
        );
      }
      noteUpload(client, hand, ref, UPLOADS_FACTOR * limit);
      const chunks = chunksOf(client, messages, () => dispatcher.moved(client));
      const cut = new AbortController();
      const end = (): void => cut.abort(taskOver(client));
      hand.over.addEventListener("abort", end, { once: true });
      try {
        await blobs.receive(client, ref, Number(offset), untilAborted(chunks, cut.signal));
      } finally {
        hand.over.removeEventListener("abort", end);
      }
      if ((await blobs.size(ref.sha256)) === undefined) {
        throw broken(`client "${client}"`, `an upload of ${ref.size} bytes ended early`);
      }
      return create(PushBlobResponseSchema, { size: BigInt(ref.size) });
    },

    async submitResult(request) {
      const client = nameOf(request.clientId);
      try {
        const verdict = await judge(host, client, request);
        failpoint("server.result-noted");
        return create(SubmitResultResponseSchema, { verdict });
      } catch (error) {
        if (!(error instanceof FedloomError)) throw error;
        if (error.status === "internal" || error.status === "unavailable") throw error;
        const { code, message: reason } = error;
        host.log.warn("Result refused", { client, code, reason });
        const late = code === "F4011" || code === "F4006";
        if (!late) await host.noteFailure(client, request.taskId, { phase: "submit", code, message: reason });
        const verdict = late ? Verdict.LATE : Verdict.REFUSED;
        return create(SubmitResultResponseSchema, { verdict, code, reason });
      }
    },

    async reportFailure(request) {
      const client = nameOf(request.clientId);
      await host.noteFailure(client, request.taskId, {
        phase: request.phase.slice(0, 32) || "train",
        code: isCode(request.code) ? request.code : "F5003",
        message: request.message.slice(0, MAX_MESSAGE_CHARACTERS),
      });
      return create(ReportFailureResponseSchema, {});
    },
  };
}

/** @throws FedloomError F5007 where a task has uploaded more than any honest one */
function noteUpload(
  client: string,
  { uploads }: InHand,
  { sha256, size }: BlobRef,
  limitBytes: number,
): void {
  const others = [...uploads].filter(([known]) => known !== sha256);
  const bytes = others.reduce((sum, [, held]) => sum + held, size);
  if (others.length < MAX_UPLOADS && bytes <= limitBytes) {
    uploads.set(sha256, size);
    return;
  }
  const [got, most] =
    bytes > limitBytes
      ? [mebibytes(bytes), mebibytes(limitBytes)]
      : [`${others.length + 1} blobs`, `${MAX_UPLOADS} blobs`];
  throw new FedloomError(
    "F5007",
    `Cannot accept ${got} in all from client "${client}": the limit for one task is ${most}`,
    { client, limitBytes },
  );
}

/** What a transfer ends with whose task is over while the client takes or sends next to nothing. */
function taskOver(client: string): FedloomError {
  return new FedloomError("F4026", `Cannot go on with a transfer of client "${client}": its task is over`, {
    client,
  });
}

async function* chunksOf(
  client: string,
  messages: AsyncIterator<PushBlobRequest>,
  onMoved: () => void,
): AsyncGenerator<Uint8Array> {
  for (;;) {
    const next = await messages.next();
    if (next.done === true) return;
    const { message } = next.value;
    if (message.case !== "chunk")
      throw broken(`client "${client}"`, "after its header an upload holds chunks only");
    const { data } = message.value;
    if (data.length === 0 || data.length > CHUNK_BYTES) {
      throw broken(`client "${client}"`, `a chunk must hold 1 to ${CHUNK_BYTES} bytes, got ${data.length}`);
    }
    onMoved();
    yield data;
  }
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
