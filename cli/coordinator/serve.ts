/** A coordinator with its state directory, its model and its edges: what `coordinator` and `demo` run. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { openBlobFolder } from "../../server/blobs/folder.ts";
import { Coordinator } from "../../server/coordinator.ts";
import { serveGrpc } from "../../server/grpc/server.ts";
import { openSqliteStore } from "../../server/journal/sqlite.ts";
import { openModelPort, type ThreadedModel } from "./model-port.ts";
import type { EngineChoice } from "./model-thread.ts";

export interface ServeOptions {
  readonly state: string;
  /** "host:port" for clients. */
  readonly listen: string;
  readonly engine: EngineChoice;
  readonly log: Log;
}

export interface Serving {
  readonly coordinator: Coordinator;
  readonly model: ThreadedModel;
  /** What clients join. */
  readonly address: string;
  /** Where each run leaves its files, in a folder of its id. */
  readonly runsDirectory: string;
  close(): Promise<void>;
}

export async function serve({ state, listen, engine, log }: ServeOptions): Promise<Serving> {
  await mkdir(state, { recursive: true });
  const runsDirectory = join(state, "runs");
  const model = openModelPort(engine);
  const store = openSqliteStore(state);
  try {
    const blobs = await openBlobFolder(join(state, "blobs"));
    const coordinator = await Coordinator.open({
      store,
      blobs,
      clock: systemClock,
      log,
      model,
      runsDirectory,
    });
    try {
      const edge = await serveGrpc(coordinator, listen);
      return {
        coordinator,
        model,
        address: edge.address,
        runsDirectory,
        async close() {
          await coordinator.close();
          edge.close();
          await model.close();
        },
      };
    } catch (error) {
      await coordinator.close();
      throw error;
    }
  } catch (error) {
    await model.close();
    throw error;
  }
}
