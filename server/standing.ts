/** One client's standing connection: Hello, Welcome, tasks one way, signs of life and progress the other. */
import { create } from "@bufbuild/protobuf";
import { FedloomError } from "../base/errors.ts";
import type { Peer } from "../proto/fleet.ts";
import {
  type ConnectRequest,
  type ConnectResponse,
  ConnectResponseSchema,
  type Hello,
} from "../proto/gen/fedloom/v1/fleet_pb.ts";
import { type Cuttable, MessageQueue } from "../proto/streams.ts";
import { checkVersion, ownVersion } from "../proto/version.ts";
import { afterAwake } from "./awake.ts";
import type { FleetHost } from "./fleet-host.ts";
import { HEARTBEAT_MS, HELLO_MS, MAX_ENTRIES, MAX_WAITING_MESSAGES } from "./limits.ts";
import { broken, unread } from "./peer-refusals.ts";
import type { Session } from "./presence.ts";

/** What this coordinator can beyond the protocol's first version. */
const FEATURES: readonly string[] = [];

export interface Connection {
  readonly peer: Peer;
  /** The caller's name, as far as its transport does not speak against it. */
  nameOf(claimed: string): string;
  readonly requests: AsyncIterable<ConnectRequest>;
  /** Aborts when the connection is gone. */
  readonly signal: AbortSignal;
}

/** @returns what the client is sent; cut where the connection is ended while the client does not read */
export function hold(host: FleetHost, connection: Connection): Cuttable<ConnectResponse> {
  const cut = new AbortController();
  return Object.assign(messagesOf(host, connection, cut), { cut: cut.signal });
}

async function* messagesOf(
  host: FleetHost,
  { peer, nameOf, requests, signal }: Connection,
  cut: AbortController,
): AsyncGenerator<ConnectResponse> {
  const { clock, presence, dispatcher } = host.parts;
  const messages = requests[Symbol.asyncIterator]();
  const queue = new MessageQueue<ConnectResponse>();
  /** Sent and not taken: in the queue, or on its way to a client that holds its window shut. */
  let waiting = 0;
  let over = false;
  const end = (error?: FedloomError): void => {
    over = true;
    queue.end(error);
    if (error !== undefined) cut.abort(error);
  };

  // One timer for the whole connection: Hello must come soon, and after it the client must be heard again and again.
  let cancelTimer = (): void => undefined;
  let silent = `did not say Hello within ${HELLO_MS / 1000} s`;
  const expectWithin = (delayMs: number): void => {
    cancelTimer();
    cancelTimer = afterAwake(clock, delayMs, () =>
      end(new FedloomError("F5001", `Cannot keep the connection of ${peer.address}: it ${silent}`)),
    );
  };
  expectWithin(HELLO_MS);
  signal.addEventListener("abort", () => end(), { once: true });

  let session: Session | undefined;
  const begin = (hello: Hello): void => {
    const client = nameOf(hello.clientId);
    checkVersion(`client "${client}"`, hello.version);
    checkInventory(client, hello);
    session = {
      client,
      inventory: hello.inventory!,
      send(message) {
        if (waiting >= MAX_WAITING_MESSAGES) return end(unread(client));
        waiting++;
        queue.push(message);
      },
      reads: () => waiting === 0,
      end,
    };
    const version = ownVersion();
    session.send(
      create(ConnectResponseSchema, {
        message: { case: "welcome", value: { version, heartbeatMs: HEARTBEAT_MS, features: [...FEATURES] } },
      }),
    );
    presence.join(session);
    dispatcher.connected(session, hello.heldTasks);
    host.log.info("Client connected", { client, peer: peer.address });
    silent = `was silent for ${(3 * HEARTBEAT_MS) / 1000} s`;
  };

  const listen = async (): Promise<void> => {
    for (;;) {
      const next = await messages.next();
      if (over) return; // what it still says counts no more
      if (next.done === true) {
        if (session === undefined) throw broken(peer.address, "a connection must begin with Hello");
        return end();
      }
      const { message } = next.value;
      if (message.case === "hello") {
        if (session !== undefined) throw broken(`client "${session.client}"`, "it says Hello twice");
        begin(message.value);
      } else if (session === undefined) {
        throw broken(peer.address, "a connection must begin with Hello");
      } else if (message.case === "progress") {
        const { taskId, phase, done, total, metrics } = message.value;
        const activity = { taskId, phase: phase.slice(0, 32), done: Number(done), total: Number(total) };
        dispatcher.progress(session.client, { ...activity, metrics: fewOf(metrics) });
        host.onProgress(session.client);
      }
      expectWithin(3 * HEARTBEAT_MS);
    }
  };
  listen().catch((error: unknown) => {
    if (!over) queue.end(error);
  });
  try {
    for await (const message of queue) {
      yield message;
      waiting--;
    }
  } finally {
    over = true;
    cancelTimer();
    if (session !== undefined) {
      presence.leave(session);
      host.log.info("Client disconnected", { client: session.client, peer: peer.address });
    }
  }
}

/** @throws FedloomError F5005 where the inventory is missing or larger than any honest one */
function checkInventory(client: string, { inventory, features, heldTasks }: Hello): void {
  if (inventory === undefined) throw broken(`client "${client}"`, "its Hello lacks an inventory");
  const texts = [
    inventory.trainer,
    inventory.device,
    inventory.baseModel,
    inventory.dataFingerprint,
    ...inventory.codecs,
    ...features,
    ...heldTasks,
  ];
  const entries =
    Object.keys(inventory.examples).length + inventory.codecs.length + features.length + heldTasks.length;
  if (entries > 4 * MAX_ENTRIES || texts.some((text) => text.length > 256)) {
    throw broken(`client "${client}"`, "its Hello is larger than any inventory");
  }
}

function fewOf(metrics: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(metrics)
      .slice(0, MAX_ENTRIES)
      .filter(([name, value]) => name.length <= 64 && Number.isFinite(value)),
  );
}
