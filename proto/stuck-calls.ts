/**
 * Ends what grpc-js cannot: a call whose peer does not take what comes before the call's status, as one that holds its
 * window shut. Its stream is reset, a while after the call should have ended.
 */
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { Metadata } from "@grpc/grpc-js";
import type { Clock } from "../base/clock.ts";

/** Among a call's headers, what tells its stream; grpc-js shows the one and hides the other. */
const MARK = "fedloom-stream";

/** Time for a peer to take the last messages and the status; one that reads needs a round trip. */
export const LINGER_MS = 10_000;

export interface StuckCalls {
  /** Takes note of a stream that grpc-js is about to serve. What a peer put in the mark's place is replaced. */
  mark(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void;
  /** The call has nothing more to say. */
  ended(call: { readonly metadata: Metadata }): void;
}

export function endStuckCalls(clock: Pick<Clock, "after">): StuckCalls {
  const streams = new Map<string, ServerHttp2Stream>();
  let marks = 0;
  return {
    mark(stream, headers) {
      const mark = String(marks++);
      headers[MARK] = mark;
      streams.set(mark, stream);
      stream.once("close", () => streams.delete(mark));
    },
    ended({ metadata }) {
      const stream = streams.get(String(metadata.get(MARK)[0]));
      if (stream === undefined) return; // closed already
      const cancel = clock.after(LINGER_MS, () => stream.close(constants.NGHTTP2_CANCEL));
      stream.once("close", cancel);
    },
  };
}
