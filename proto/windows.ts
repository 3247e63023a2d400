/**
 * HTTP/2 receive windows of a server. Wide ones are what makes uploads over distance fast: 41 MiB/s at 50 ms round
 * trip with 8 MiB, 0.8 MiB/s with Node's 64 KiB. But what a window allows is what a slow disk makes us hold, so all
 * connections share a budget: few clients get wide windows, a thousand at once cannot fill the memory.
 */
import type { Http2Session } from "node:http2";

/** Bytes that all clients together may have under way to us. */
const BUDGET_BYTES = 64 * 2 ** 20;
const WIDEST_BYTES = 16 * 2 ** 20;
/** Above 512 clients the budget is passed by this: with less, a connection does not move at any distance. */
const NARROWEST_BYTES = 128 * 2 ** 10;

/** Bytes under way on one connection; a stream has half of it, so that one at full speed does not hold back heartbeats. */
export function connectionWindow(connections: number): number {
  const shares = 2 ** Math.ceil(Math.log2(Math.max(1, connections)));
  return Math.min(WIDEST_BYTES, Math.max(NARROWEST_BYTES, BUDGET_BYTES / shares));
}

export type Windowed = Pick<Http2Session, "settings" | "once" | "destroyed"> & {
  setLocalWindowSize(bytes: number): void;
};

/** @returns takes a new connection in; windows of all are set anew whenever their number passes a power of two */
export function shareWindows(): (session: Windowed) => void {
  const sessions = new Set<Windowed>();
  let current = connectionWindow(0);
  const set = (session: Windowed): void => {
    if (session.destroyed) return;
    session.setLocalWindowSize(current);
    session.settings({ initialWindowSize: current / 2 });
  };
  const share = (): boolean => {
    const wanted = connectionWindow(sessions.size);
    if (wanted === current) return false;
    current = wanted;
    for (const session of sessions) set(session);
    return true;
  };
  return (session) => {
    sessions.add(session);
    session.once("close", () => {
      sessions.delete(session);
      share();
    });
    if (!share()) set(session);
  };
}
