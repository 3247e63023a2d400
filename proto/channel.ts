/** HTTP/2 settings of both sides, and the windows without which uploads over distance crawl. */
import http2 from "node:http2";
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

/** Largest message either side takes: a chunk and its frame fit twice; no other message comes near. */
export const MAX_MESSAGE_BYTES = 4 * 2 ** 20;

/** What a client lets a coordinator have under way to it: one stream at full speed must not hold back heartbeats. */
const CLIENT_WINDOW_BYTES = 16 * 2 ** 20;

/** A peer that went silent is noticed after interval + timeout, in either direction. */
const KEEPALIVE: ChannelOptions = {
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.keepalive_permit_without_calls": 1,
};

export const CLIENT_OPTIONS: ChannelOptions = {
  ...KEEPALIVE,
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc-node.flow_control_window": CLIENT_WINDOW_BYTES,
  "grpc.initial_reconnect_backoff_ms": 200,
  "grpc.max_reconnect_backoff_ms": 5_000,
  // A client's connection is its own: two clients in one process must not share one.
  "grpc.use_local_subchannel_pool": 1,
};

export const SERVER_OPTIONS: ChannelOptions = {
  ...KEEPALIVE,
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  // One client holds one Connect stream and a few transfers.
  "grpc.max_concurrent_streams": 64,
};

/**
 * Binds a grpc-js server whose HTTP/2 windows are as wide as the number of its clients allows (windows.ts).
 *
 * grpc-js has an option for its client only, so `http2.createServer` is wrapped while it binds: the server that
 * it makes there gives every session its share as it comes.
 *
 * @param target "host:port"; port 0 takes a free one
 * @returns the port
 * @throws FedloomError F5009 where the address cannot be listened on, as when the port is taken
 */
export async function bindWide(
  server: Server,
  target: string,
  credentials: ServerCredentials,
): Promise<number> {
  const { createServer, createSecureServer } = http2;
  setLogVerbosity(logVerbosity.NONE); // grpc-js prints what we throw
  const share = shareWindows();
  const wrap =
    <
      Options extends { settings?: http2.Settings | undefined },
      Made extends { on(event: "session", take: typeof share): unknown },
    >(
      make: (options: Options) => Made,
    ) =>
    (options: Options): Made => {
      const made = make(options);
      made.on("session", share);
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
