/** A coordinator with its state directory, its model and its edges: what `coordinator` and `demo` run. */
import { join } from "node:path";
import type { Log } from "../../base/log.ts";
import { publishedSampler } from "../../scenarios/fleet/published-sampler.ts";
import { type RunningCoordinator, startCoordinator } from "../../server/start.ts";
import { openModelPort, type ThreadedModel } from "./model-port.ts";
import type { EngineChoice } from "./model-thread.ts";

export interface ServeOptions {
  readonly state: string;
  /** "host:port" for clients. */
  readonly listen: string;
  /** "host:port" for operators; nobody is answered over HTTP where it is absent. */
  readonly http?: string;
  /** Further names and addresses for its certificate. */
  readonly names?: readonly string[] | undefined;
  readonly engine: EngineChoice;
  readonly log: Log;
}

export interface Serving extends RunningCoordinator {
  readonly model: ThreadedModel;
}

export async function serve({ engine, ...options }: ServeOptions): Promise<Serving> {
  const model = openModelPort(engine);
  try {
    const running = await startCoordinator({ ...options, model, samplers: { published: publishedSampler } });
    const close = async (): Promise<void> => {
      await running.close();
      await model.close();
    };
    return { ...running, model, close };
  } catch (error) {
    await model.close();
    throw error;
  }
}

/** Where a run leaves its files: metrics.jsonl, at the end summary.json and adapter/. */
export function runDirectory(state: string, run: string): string {
  return join(state, "runs", run);
}
