/**
 * A coordinator with its state on disk and its edges open.
 *
 *   DIR/journal.sqlite   runs and their events
 *   DIR/blobs/           adapters, updates, strategy states by hash
 *   DIR/ca/              the certificate authority, where there is one
 *   DIR/runs/ID/         config.json, manifest.json, metrics.jsonl, at the end summary.json and adapter/
 *
 * Started again on the same DIR it goes on; there is nothing else to do after a crash.
 */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { openAggregator } from "../aggregators/aggregator.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { openBlobFolder } from "./blobs/folder.ts";
import { Coordinator } from "./coordinator.ts";
import { serveGrpc } from "./grpc/server.ts";
import { keepHeapSmall } from "./heap.ts";
import { serveHttp } from "./http/server.ts";
import { authorityExists, openAuthority } from "./identity/authority.ts";
import { Gate } from "./identity/gate.ts";
import { openSqliteStore } from "./journal/sqlite.ts";
import type { ModelPort, Sampler } from "./ports.ts";

export interface StartOptions {
  /** The state directory; made where it is missing. */
  readonly state: string;
  readonly log: Log;
  readonly model: ModelPort;
  /** "host:port" for clients; port 0 takes a free one. No gRPC edge where it is absent. */
  readonly listen?: string | undefined;
  /** "host:port" for operators; no HTTP edge where it is absent. */
  readonly http?: string | undefined;
  readonly samplers?: Readonly<Record<string, Sampler>>;
  /** Names and addresses that clients reach this coordinator by, as behind a router or in a container: for its certificate. */
  readonly names?: readonly string[] | undefined;
  readonly clock?: Clock;
}

export interface RunningCoordinator {
  readonly coordinator: Coordinator;
  /** What clients join: "127.0.0.1:7443". */
  readonly address: string | undefined;
  /** "http://127.0.0.1:7480" */
  readonly httpUrl: string | undefined;
  /** Ends connections and work; acknowledged results are on disk already. */
  close(): Promise<void>;
}

/** @throws FedloomError F4002 where another coordinator has the directory, F4003, F4014, F4015, F5009 */
export async function startCoordinator(options: StartOptions): Promise<RunningCoordinator> {
  const { state, log, model, samplers = {}, clock = systemClock } = options;
  const store = openSqliteStore(state);
  const aggregator = openAggregator({ threads: Math.min(4, Math.max(1, availableParallelism() - 1)) });
  // From the last to the first: the runs let go of their work before the threads that do it end.
  const closers: (() => unknown)[] = [() => aggregator.close(), () => store.close()];
  const close = async (): Promise<void> => {
    for (const step of closers.splice(0).reverse()) await step();
  };
  try {
    const blobs = await openBlobFolder(join(state, "blobs"));
    const runsDirectory = join(state, "runs");
    // Once there is an authority, sites must be enrolled, on loopback too.
    const gate = authorityExists(state)
      ? await Gate.open({
          authority: await openAuthority(state, clock),
          registry: store.registry,
          clock,
          log,
          names: options.names,
          onRevoked: (name) => coordinator.shutOut(name),
        })
      : undefined;
    const coordinator: Coordinator = await Coordinator.open({
      store,
      sightings: store.sightings,
      blobs,
      clock,
      log,
      model,
      samplers,
      runsDirectory,
      aggregator,
      betweenRounds: keepHeapSmall(),
      ...(gate !== undefined && { admits: (client: string) => gate.admits(client) }),
    });
    closers[1] = () => coordinator.close();
    const grpc =
      options.listen === undefined ? undefined : await serveGrpc(coordinator, options.listen, gate);
    if (grpc !== undefined) closers.push(() => grpc.close());
    const http = options.http === undefined ? undefined : await serveHttp(coordinator, options.http, gate);
    if (http !== undefined) closers.push(() => http.close());
    return { coordinator, address: grpc?.address, httpUrl: http?.url, close };
  } catch (error) {
    await close();
    throw error;
  }
}
