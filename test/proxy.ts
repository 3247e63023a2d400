/**
 * A TCP proxy in this process, for what networks do: delay, cut connections, and connections that are still open
 * at both ends while nothing passes any more.
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface Proxy {
  /** "127.0.0.1:port", to give to clients. */
  readonly address: string;
  /** Bytes passed on since the start, from clients and to them. */
  readonly bytes: { up: number; down: number };
  /** Connections that are open now. */
  readonly connections: number;
  /** Connections that were ever made. */
  readonly accepted: number;
  /** Breaks all connections; new ones are taken. */
  cut(): void;
  /** Half-open: existing connections stay, but nothing passes, not even their end. New ones work. */
  freeze(): void;
  /** New connections are refused (closed at once) until `admit`. */
  refuse(): void;
  admit(): void;
  /** Calls back once when `bytes` went up through the proxy from now on. */
  afterUpload(bytes: number, act: () => void): void;
  close(): Promise<void>;
}

export interface ProxyOptions {
  /** One way, so that a round trip takes twice as long. */
  readonly delayMs?: number;
}

/** Bytes under way in one direction before the sender is held back: 64 MiB at 100 ms are 640 MiB/s. */
const LONGEST_QUEUE_BYTES = 64 * 2 ** 20;

export async function startProxy(target: string, options: ProxyOptions = {}): Promise<Proxy> {
  const [host, port] = target.split(":") as [string, string];
  const delayMs = options.delayMs ?? 0;
  const pairs = new Set<{ near: Socket; far: Socket; frozen: boolean }>();
  const bytes = { up: 0, down: 0 };
  const alarms = new Set<{ at: number; act: () => void }>();
  let refusing = false;
  let accepted = 0;

  const server = createServer({ noDelay: true }, (near) => {
    if (refusing) {
      near.destroy();
      return;
    }
    accepted++;
    const far = connect({ host, port: Number(port), noDelay: true });
    const pair = { near, far, frozen: false };
    pairs.add(pair);
    const drop = (): void => {
      if (pair.frozen) return;
      near.destroy();
      far.destroy();
      pairs.delete(pair);
    };
    for (const socket of [near, far]) {
      socket.on("error", drop);
      socket.on("close", drop);
    }
    const count = (way: "up" | "down") => (length: number) => {
      bytes[way] += length;
      for (const alarm of alarms) {
        if (bytes.up < alarm.at) continue;
        alarms.delete(alarm);
        alarm.act();
      }
    };
    pass(near, far, delayMs, () => pair.frozen, count("up"));
    pass(far, near, delayMs, () => pair.frozen, count("down"));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  const proxy: Proxy = {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    bytes,
    get connections() {
      return pairs.size;
    },
    get accepted() {
      return accepted;
    },
    cut() {
      for (const { near, far } of pairs) {
        near.resetAndDestroy();
        far.resetAndDestroy();
      }
      pairs.clear();
    },
    freeze() {
      for (const pair of pairs) pair.frozen = true;
    },
    refuse() {
      refusing = true;
    },
    admit() {
      refusing = false;
    },
    afterUpload(more, act) {
      alarms.add({ at: bytes.up + more, act });
    },
    async close() {
      proxy.cut();
      server.close();
      await once(server, "close");
    },
  };
  return proxy;
}

/** Copies `from` to `to`, each piece `delayMs` after it came. */
function pass(
  from: Socket,
  to: Socket,
  delayMs: number,
  frozen: () => boolean,
  count: (length: number) => void,
): void {
  let queuedBytes = 0;
  let draining = false;
  const write = (piece: Buffer): void => {
    queuedBytes -= piece.length;
    if (frozen() || to.destroyed) return;
    count(piece.length);
    if (!to.write(piece) && !draining) {
      draining = true;
      from.pause();
      to.once("drain", () => {
        draining = false;
        from.resume();
      });
    }
    if (!draining && from.isPaused() && queuedBytes < LONGEST_QUEUE_BYTES) from.resume();
  };
  from.on("data", (piece: Buffer) => {
    queuedBytes += piece.length;
    if (delayMs === 0) return write(piece);
    if (queuedBytes > LONGEST_QUEUE_BYTES) from.pause();
    // Timers of one delay fire in the order they were set: the pieces stay in order.
    setTimeout(write, delayMs, piece);
  });
  from.on("end", () => {
    if (frozen()) return;
    setTimeout(() => to.end(), delayMs);
  });
}
