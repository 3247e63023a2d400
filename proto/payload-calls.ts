/**
 * The two calls that carry payload, FetchBlob and PushBlob, served on their HTTP/2 streams without grpc-js's server: that
 * one makes two buffers of every message and copies it into both, hands a client that does not read sixteen messages
 * ahead, and cannot end a call whose client takes nothing. To a peer nothing tells the difference.
 *
 * Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 */
import { constants, type ServerHttp2Stream } from "node:http2";
import { TLSSocket } from "node:tls";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { status as grpc, Metadata, type ServerUnaryCall, type StatusObject } from "@grpc/grpc-js";
import { MAX_MESSAGE_BYTES, type TakeStream } from "./channel.ts";
import { fetchBlobHead } from "./chunk-bytes.ts";
import type { Fleet } from "./fleet.ts";
import { FetchBlobRequestSchema, PushBlobResponseSchema } from "./gen/fedloom/v1/fleet_pb.ts";
import { ByteSource, cutOff, lengthOf, readPushes, refused } from "./push-reader.ts";
import { roomIn } from "./streams.ts";

/** Who calls, as far as the transport tells. */
export interface Caller {
  getPeer(): string;
  getAuthContext(): ReturnType<ServerUnaryCall<unknown, unknown>["getAuthContext"]>;
}

/** Of what a FetchBlob asks: two names and a number. */
const MAX_REQUEST_BYTES = 64 * 2 ** 10;

const PREFIX_BYTES = 5;
const HEADERS = { ":status": 200, "content-type": "application/grpc+proto" } as const;
const OK: StatusObject = { code: grpc.OK, details: "", metadata: new Metadata() };

export interface PayloadOptions {
  readonly paths: { readonly fetchBlob: string; readonly pushBlob: string };
  /** Who is refused is refused here, before a byte of its message is read. */
  fleetOf(caller: Caller): Fleet;
  /** The status that tells a peer of an error, after whoever wants to hear of it has. */
  statusOf(error: unknown, caller: PayloadCall, method: "fetchBlob" | "pushBlob"): StatusObject;
}

export function payloadCalls({ paths, fleetOf, statusOf }: PayloadOptions): TakeStream {
  const serve = async (
    method: "fetchBlob" | "pushBlob",
    call: PayloadCall,
    act: (fleet: Fleet) => Promise<void>,
  ): Promise<void> => {
    try {
      await act(fleetOf(call));
      call.end(OK);
    } catch (error) {
      call.end(statusOf(error, call, method));
    }
    call.source.drop();
  };
  return (stream, headers) => {
    const { ":path": path, "content-type": type } = headers;
    if (type?.startsWith("application/grpc") !== true) return false;
    if (path === paths.fetchBlob) {
      const call = new PayloadCall(stream);
      void serve("fetchBlob", call, (fleet) => call.fetch(fleet));
    } else if (path === paths.pushBlob) {
      const call = new PayloadCall(stream);
      void serve("pushBlob", call, (fleet) => call.push(fleet));
    } else return false;
    return true;
  };
}

export class PayloadCall implements Caller {
  readonly source: ByteSource;
  readonly #stream: ServerHttp2Stream;
  /** Aborts when the peer cancels the call or its connection is gone. */
  readonly #gone = new AbortController();
  /** Aborts when what is sent is not wanted any more. */
  #cut: AbortSignal | undefined;

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream;
    this.source = new ByteSource(stream);
    stream.on("error", () => undefined); // "close" follows, and tells all there is to do
    stream.once("close", () => this.#gone.abort("the call is over"));
  }

  get cancelled(): boolean {
    return this.#stream.destroyed || this.#stream.closed;
  }

  getPeer(): string {
    const { remoteAddress, remotePort } = this.#stream.session?.socket ?? {};
    return remoteAddress === undefined ? "unknown" : `${remoteAddress}:${remotePort}`;
  }

  getAuthContext(): ReturnType<Caller["getAuthContext"]> {
    const socket = this.#stream.session?.socket;
    if (!(socket instanceof TLSSocket) || !socket.authorized) return {};
    const sslPeerCertificate = socket.getPeerCertificate();
    // Node tells of a peer without a certificate by an empty object.
    return "raw" in sslPeerCertificate ? { transportSecurityType: "ssl", sslPeerCertificate } : {};
  }

  async fetch(fleet: Fleet): Promise<void> {
    const request = fromRequest(await this.#readOne(), this.getPeer());
    const answers = fleet.fetchBlob(request, this.#gone.signal);
    this.#cut = answers.cut;
    for await (const message of answers) {
      if (this.cancelled) return;
      if (!this.#stream.headersSent) this.#stream.respond(HEADERS, { waitForTrailers: true });
      const { data } = message;
      const head = fetchBlobHead(message);
      this.#stream.cork();
      this.#stream.write(framed(head, head.length + data.length));
      // The blob's own bytes, uncopied: all clients of a round are sent the same memory. What comes from a file is there until
      // the next chunk is asked for, which is when this one has left: none but the last one fits a stream's own buffer.
      const hasRoom = this.#stream.write(data);
      this.#stream.uncork();
      if (!hasRoom) await roomIn(this.#stream, this.#cut);
    }
    if (!this.cancelled && !this.#stream.headersSent)
      this.#stream.respond(HEADERS, { waitForTrailers: true });
  }

  async push(fleet: Fleet): Promise<void> {
    const messages = readPushes(this.source, this.getPeer(), MAX_MESSAGE_BYTES);
    const bytes = toBinary(PushBlobResponseSchema, await fleet.pushBlob(messages, this.#gone.signal));
    if (this.cancelled) return;
    this.#stream.respond(HEADERS, { waitForTrailers: true });
    this.#stream.write(framed(bytes, bytes.length));
  }

  /** Ends the call with a status; with a reset where the peer does not take what comes before the status. */
  end({ code, details, metadata }: StatusObject): void {
    if (this.cancelled) return;
    const trailers = {
      "grpc-status": String(code),
      "grpc-message": encodeURI(details.toWellFormed()),
      ...metadata.toHttp2Headers(),
    };
    if (!this.#stream.headersSent) {
      this.#stream.respond({ ...HEADERS, ...trailers }, { endStream: true });
      return;
    }
    this.#stream.once("wantTrailers", () => this.#stream.sendTrailers(trailers));
    this.#stream.end();
    if (this.#cut?.aborted === true && this.#stream.writableLength > 0) {
      this.#stream.close(constants.NGHTTP2_CANCEL);
    }
  }

  async #readOne(): Promise<Buffer> {
    const peer = this.getPeer();
    const prefix = Buffer.alloc(PREFIX_BYTES);
    if ((await this.source.fill(prefix)) < PREFIX_BYTES) throw cutOff(peer);
    const bytes = Buffer.alloc(lengthOf(prefix, peer, MAX_REQUEST_BYTES));
    if ((await this.source.fill(bytes)) < bytes.length) throw cutOff(peer);
    return bytes;
  }
}

function fromRequest(bytes: Buffer, peer: string) {
  try {
    return fromBinary(FetchBlobRequestSchema, bytes);
  } catch (cause) {
    throw refused(peer, "its bytes are no request for a blob", cause);
  }
}

/** The prefix of a message, and its first bytes. @param length of the whole message */
function framed(bytes: Uint8Array, length: number): Buffer {
  const all = Buffer.allocUnsafe(PREFIX_BYTES + bytes.length);
  all.writeUInt8(0, 0);
  all.writeUInt32BE(length, 1);
  all.set(bytes, PREFIX_BYTES);
  return all;
}
