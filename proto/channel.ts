/** HTTP/2 settings of both sides, and the windows without which uploads over distance crawl. */
import http2, { type IncomingHttpHeaders } from "node:http2";
import { TLSSocket } from "node:tls";
import {
  type ChannelOptions,
  logVerbosity,
  type Server,
  type ServerCredentials,
  setLogVerbosity,
} from "@grpc/grpc-js";
import { FedloomError } from "../base/errors.ts";
import { shareWindows } from "./windows.ts";

/** Bytes of one payload message. At 50 ms round trip larger ones gain nothing; smaller ones cost CPU per message. */
export const CHUNK_BYTES = 2 ** 20;

/**
 * Largest message either side takes: a chunk with what is around it, or a task with many options. Each of a peer's
 * streams can make us hold so much.
 */
export const MAX_MESSAGE_BYTES = 2 * 2 ** 20;

/** What a client lets a coordinator have under way to it: one stream at full speed must not hold back heartbeats. */
const CLIENT_WINDOW_BYTES = 16 * 2 ** 20;

const COMMON: ChannelOptions = {
  // A peer that went silent is noticed after interval + timeout, in either direction.
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.keepalive_permit_without_calls": 1,
  // Its books of every call and connection are read by nobody here.
  "grpc.enable_channelz": 0,
};

export const CLIENT_OPTIONS: ChannelOptions = {
  ...COMMON,
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc-node.flow_control_window": CLIENT_WINDOW_BYTES,
  "grpc.initial_reconnect_backoff_ms": 200,
  "grpc.max_reconnect_backoff_ms": 5_000,
  // A client's connection is its own: two clients in one process must not share one.
  "grpc.use_local_subchannel_pool": 1,
};

export const SERVER_OPTIONS: ChannelOptions = {
  ...COMMON,
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  // One client holds one Connect stream, one transfer and a call or two.
  "grpc.max_concurrent_streams": 16,
};

/** Takes a stream that it serves itself. @returns false for one that grpc-js is to serve */
export type TakeStream = (stream: http2.ServerHttp2Stream, headers: IncomingHttpHeaders) => boolean;

/** A peer without a certificate of ours may enroll or ask for our health: a matter of seconds. */
const STRANGER_MS = 60_000;

export interface BindOptions {
  /** Sets the windows of a connection. */
  readonly widen?: ((session: http2.ServerHttp2Session) => void) | undefined;
  /** How long a peer without a certificate may stay, where certificates are asked for. */
  readonly strangerMs?: number;
}

/**
 * Binds a grpc-js server whose HTTP/2 windows are as wide as the number of its clients allows (windows.ts).
 *
 * grpc-js has an option for its client only, so `http2.createServer` is wrapped while it binds: the server that
 * it makes there gives every session its share as it comes.
 *
 * @param target "host:port"; port 0 takes a free one
 * @param takeStream serves what `addFleet` keeps from grpc-js
 * @returns the port
 * @throws FedloomError F5009 where the address cannot be listened on, as when the port is taken
 */
export async function bindWide(
  server: Server,
  target: string,
  credentials: ServerCredentials,
  takeStream: TakeStream,
  { widen = shareWindows(), strangerMs = STRANGER_MS }: BindOptions = {},
): Promise<number> {
  const { createServer, createSecureServer } = http2;
  setLogVerbosity(logVerbosity.NONE); // grpc-js prints what we throw
  const wrap =
    <Options, Made extends http2.Http2Server | http2.Http2SecureServer>(make: (options: Options) => Made) =>
    (options: Options): Made => {
      const made = make(options);
      made.on("session", (session) => {
        widen(session);
        limitStranger(session, strangerMs);
      });
      const emit = made.emit.bind(made) as (event: string | symbol, ...args: unknown[]) => boolean;
      // as: what Node emits with a "stream".
      made.emit = (event: string | symbol, ...args: unknown[]) =>
        event === "stream" && takeStream(args[0] as http2.ServerHttp2Stream, args[1] as IncomingHttpHeaders)
          ? true
          : emit(event, ...args);
      return made;
    };
  // as: the overloads without options are never used by grpc-js.
  http2.createServer = wrap(
    createServer as (options: http2.ServerOptions) => http2.Http2Server,
  ) as typeof createServer;
  http2.createSecureServer = wrap(
    // Who shows no certificate may connect, to enroll; what else it may do is decided at each call.
    (options: http2.SecureServerOptions) => createSecureServer({ ...options, rejectUnauthorized: false }),
  ) as typeof createSecureServer;
  try {
    return await new Promise<number>((resolve, reject) => {
      server.bindAsync(target, credentials, (error, port) => {
        if (error === null) return resolve(port);
        const taken = error.message.includes("EADDRINUSE");
        const reason = taken
          ? "the port is in use; choose another or stop the program that holds it"
          : error.message;
        reject(
          new FedloomError("F5009", `Cannot listen on ${target}: ${reason}`, { target }, { cause: error }),
        );
      });
    });
  } finally {
    http2.createServer = createServer;
    http2.createSecureServer = createSecureServer;
  }
}

/** Ends the connection of a peer without a certificate after a while, however busy it looks. */
function limitStranger(session: http2.ServerHttp2Session, afterMs: number): void {
  const { socket } = session;
  if (!(socket instanceof TLSSocket) || socket.authorized) return;
  const timer = setTimeout(() => session.destroy(), afterMs);
  session.once("close", () => clearTimeout(timer));
}
