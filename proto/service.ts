/**
 * FleetService over grpc-js, made from the service that protobuf-es generated. Server and client both turn
 * gRPC calls into the interface of fleet.ts; slow readers hold back writers on both sides (streams.ts).
 */

import type { Readable } from "node:stream";
import {
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type Message,
  toBinary,
} from "@bufbuild/protobuf";
import {
  type ChannelCredentials,
  Client,
  type ClientOptions,
  type handleBidiStreamingCall,
  type handleUnaryCall,
  type MethodDefinition,
  type requestCallback,
  type Server,
} from "@grpc/grpc-js";
import { type Clock, systemClock } from "../base/clock.ts";
import { CLIENT_OPTIONS, type TakeStream } from "./channel.ts";
import { pushChunkBytes } from "./chunk-bytes.ts";
import type { Enrolment, Fleet, Peer } from "./fleet.ts";
import {
  type ConnectRequest,
  type ConnectResponse,
  FleetService,
  type PushBlobRequest,
} from "./gen/fedloom/v1/fleet_pb.ts";
import { type Caller, payloadCalls } from "./payload-calls.ts";
import { fromStatus, toStatus } from "./status.ts";
import { readAll, writeAll, writeEach } from "./streams.ts";
import { endStuckCalls } from "./stuck-calls.ts";

type MethodName = keyof (Fleet & Enrolment);
type Codec = MethodDefinition<Message, Message>;
/** What all four kinds of grpc-js server calls have in common. */
interface ServerCall extends Caller {
  readonly cancelled: boolean;
  once(event: "cancelled", listener: () => void): unknown;
  emit(event: "error", status: unknown): boolean;
}

function serializer(schema: DescMessage): (message: Message) => Buffer {
  return (message) => {
    const bytes = toBinary(schema, message);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
}

/** grpc-js's definition of one method: its path and how messages become bytes. */
function methodOf(method: DescMethod): Codec {
  const kind = method.methodKind;
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: kind === "client_streaming" || kind === "bidi_streaming",
    responseStream: kind === "server_streaming" || kind === "bidi_streaming",
    requestSerialize: serializer(method.input),
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: serializer(method.output),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
  };
}

/** grpc-js's definition of a service, by the names of its methods in TypeScript. */
export function methodsOf(service: DescService): Record<string, Codec> {
  return Object.fromEntries(service.methods.map((method) => [method.localName, methodOf(method)]));
}

const { method } = FleetService;

const pushBlob = methodOf(method.pushBlob);

export const FLEET_METHODS = {
  connect: methodOf(method.connect),
  fetchBlob: methodOf(method.fetchBlob),
  statBlob: methodOf(method.statBlob),
  pushBlob: {
    ...pushBlob,
    // as: grpc-js hands each method its own messages.
    requestSerialize: (message) =>
      pushChunkBytes(message as PushBlobRequest) ?? pushBlob.requestSerialize(message),
  },
  submitResult: methodOf(method.submitResult),
  reportFailure: methodOf(method.reportFailure),
  enroll: methodOf(method.enroll),
  renew: methodOf(method.renew),
} satisfies Record<MethodName, Codec>;

const GONE = "the call is over";

/** Aborts when the peer cancels the call or its connection is gone. */
function signalOf(call: ServerCall): AbortSignal {
  const controller = new AbortController();
  // Of every call, when it is over; without a reason each abort would make an error with a stack of its own.
  call.once("cancelled", () => controller.abort(GONE));
  return controller.signal;
}

/**
 * Offers `fleetOf(call)` on a grpc-js server. Whatever it throws goes to `onError` with the peer, and to the peer as
 * status.ts tells.
 *
 * @param enrolmentOf absent where sites cannot enroll
 * @param clock times calls that should have ended
 * @returns takes the streams of the calls that carry payload (bindWide)
 */
export function addFleet(
  server: Server,
  fleetOf: (caller: Caller) => Fleet,
  onError: (error: unknown, peer: Peer, method: MethodName) => void,
  enrolmentOf?: (caller: Caller) => Enrolment,
  clock: Pick<Clock, "after"> = systemClock,
): TakeStream {
  const stuck = endStuckCalls(clock);
  const fail = (error: unknown, call: Caller & { readonly cancelled: boolean }, method: MethodName) => {
    if (!call.cancelled) onError(error, { address: call.getPeer() }, method);
    return toStatus(error);
  };
  const unary =
    <I extends Message>(
      method: MethodName,
      answer: (request: I, call: ServerCall, signal: AbortSignal) => Promise<Message>,
    ): handleUnaryCall<I, Message> =>
    (call, callback) => {
      // Promise.try: a refusal may be thrown before the first await.
      Promise.try(() => answer(call.request, call, signalOf(call))).then(
        (response) => callback(null, response),
        (error: unknown) => callback(fail(error, call, method)),
      );
    };
  const connect: handleBidiStreamingCall<ConnectRequest, ConnectResponse> = async (call) => {
    try {
      await writeEach(call, fleetOf(call).connect(readAll(call), signalOf(call)));
      call.end();
    } catch (error) {
      call.emit("error", fail(error, call, "connect"));
    }
    stuck.ended(call);
  };
  type Request<Name extends keyof (Fleet & Enrolment)> = Parameters<(Fleet & Enrolment)[Name]>[0];
  server.addService(FLEET_METHODS, {
    connect,
    statBlob: unary<Request<"statBlob">>("statBlob", (request, call, signal) =>
      fleetOf(call).statBlob(request, signal),
    ),
    submitResult: unary<Request<"submitResult">>("submitResult", (request, call, signal) =>
      fleetOf(call).submitResult(request, signal),
    ),
    reportFailure: unary<Request<"reportFailure">>("reportFailure", (request, call, signal) =>
      fleetOf(call).reportFailure(request, signal),
    ),
    ...(enrolmentOf !== undefined && {
      enroll: unary<Request<"enroll">>("enroll", (request, call, signal) =>
        enrolmentOf(call).enroll(request, signal),
      ),
      renew: unary<Request<"renew">>("renew", (request, call, signal) =>
        enrolmentOf(call).renew(request, signal),
      ),
    }),
  });
  const { fetchBlob, pushBlob } = FLEET_METHODS;
  const takePayload = payloadCalls({
    paths: { fetchBlob: fetchBlob.path, pushBlob: pushBlob.path },
    fleetOf,
    statusOf: fail,
  });
  return (stream, headers) => {
    if (headers[":path"] === FLEET_METHODS.connect.path) stuck.mark(stream, headers);
    return takePayload(stream, headers);
  };
}

export interface FleetClient extends Fleet, Enrolment {
  close(): void;
}

/** A coordinator at `address` ("host:port"). Connects at the first call and again by itself whenever the connection is lost. */
export function connectFleet(
  address: string,
  credentials: ChannelCredentials,
  options: ClientOptions = {},
): FleetClient {
  const client = new Client(address, credentials, { ...CLIENT_OPTIONS, ...options });

  /** Ties a call to the caller's signal. */
  const cancelWith = (signal: AbortSignal, call: { cancel(): void } & NodeJS.EventEmitter): void => {
    const cancel = (): void => call.cancel();
    if (signal.aborted) cancel();
    signal.addEventListener("abort", cancel, { once: true });
    call.once("status", () => signal.removeEventListener("abort", cancel));
  };
  const unary = <O extends Message>(name: MethodName, request: Message, signal: AbortSignal): Promise<O> =>
    new Promise((resolve, reject) => {
      const { path, requestSerialize, responseDeserialize } = FLEET_METHODS[name];
      const done: requestCallback<Message> = (error, response) =>
        error === null ? resolve(response as O) : reject(fromStatus(error, address));
      cancelWith(signal, client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, done));
    });
  async function* messagesOf<O>(call: Readable, failure: () => unknown): AsyncGenerator<O> {
    try {
      yield* readAll<O>(call);
    } catch (error) {
      throw failure() ?? fromStatus(error, address);
    }
  }

  return {
    statBlob: (request, signal) => unary("statBlob", request, signal),
    submitResult: (request, signal) => unary("submitResult", request, signal),
    reportFailure: (request, signal) => unary("reportFailure", request, signal),
    enroll: (request, signal) => unary("enroll", request, signal),
    renew: (request, signal) => unary("renew", request, signal),
    fetchBlob(request, signal) {
      const { path, requestSerialize, responseDeserialize } = FLEET_METHODS.fetchBlob;
      const call = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request);
      cancelWith(signal, call);
      return messagesOf(call, () => undefined);
    },
    connect(requests, signal) {
      const { path, requestSerialize, responseDeserialize } = FLEET_METHODS.connect;
      const call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
      cancelWith(signal, call);
      let failure: unknown;
      writeAll(call, requests).then(
        () => call.end(),
        (error: unknown) => {
          failure = error;
          call.cancel();
        },
      );
      return messagesOf(call, () => failure);
    },
    pushBlob: (requests, signal) =>
      new Promise((resolve, reject) => {
        const { path, requestSerialize, responseDeserialize } = FLEET_METHODS.pushBlob;
        let failure: unknown;
        const done: requestCallback<Message> = (error, response) => {
          if (error === null) resolve(response as Awaited<ReturnType<Fleet["pushBlob"]>>);
          else reject(failure ?? fromStatus(error, address));
        };
        const call = client.makeClientStreamRequest(path, requestSerialize, responseDeserialize, done);
        // The status comes through the callback; as an event it has no other listener.
        call.on("error", () => undefined);
        cancelWith(signal, call);
        writeAll(call, requests).then(
          () => call.end(),
          (error: unknown) => {
            failure = error;
            call.cancel();
          },
        );
      }),
    close: () => client.close(),
  };
}
