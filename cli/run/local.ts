/** A run in this process: the coordinator and all clients of the file's `fleet`, one model, no sockets. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "../../base/clock.ts";
import { canonicalJson, sha256 } from "../../base/hash.ts";
import type { Log } from "../../base/log.ts";
import type { RunConfig } from "../../config/run.ts";
import { type Fleet, type FleetOptions, startFleet } from "../../scenarios/fleet/fleet.ts";
import { runDirectory } from "../coordinator/serve.ts";
import { watchRun } from "../coordinator/watch.ts";
import { requireDevice } from "../doctor/provider.ts";
import type { ExitCode } from "../exit-codes.ts";
import { openLogFile } from "../logging.ts";
import type { Output } from "../output.ts";
import { createRunScreen } from "../screen/run-screen.ts";
import { onEnding } from "../signals.ts";
import { openTrainer, type TrainerChoice } from "../trainers.ts";

export interface LocalOptions extends Omit<TrainerChoice, "model"> {
  /** The state directory: runs that were cut off go on from it. */
  readonly out: string;
}

export async function runLocally(
  config: RunConfig,
  { out, ...engine }: LocalOptions,
  output: Output,
): Promise<ExitCode> {
  const ending = onEnding();
  await mkdir(out, { recursive: true });
  const log = openLogFile(join(out, "run.log"));
  await requireDevice(engine.device);
  const trainer = await openTrainer("onnx", { ...engine, model: config.model });
  try {
    const fleet = await startOrGoOn({ config, trainer, device: engine.device, log, state: out });
    const { id } = fleet.engine.run;
    const { name, rounds, seed } = config;
    const files = runDirectory(out, id);
    output.line(`Run ${id} "${name}": ${rounds} rounds, seed ${seed}, files in ${files}`);
    const screen = createRunScreen(output.json ? process.stderr : process.stdout, systemClock.monotonic);
    try {
      const watched = watchRun(fleet.coordinator, id, screen, ending.signal);
      // The fleet's end may be a failure that the coordinator alone never hears of.
      await Promise.race([watched, fleet.ended]);
      const view = await watched;
      screen.close();
      output.result("run/1", { run: id, name, status: view.status, rounds: view.history, directory: files });
      if (ending.signal.aborted) {
        output.note(`Interrupted in round ${view.round}; the same command goes on from here`);
        return ending.exitCode();
      }
      if (view.status !== "finished") return 8;
      output.line(`Adapter: ${join(files, "adapter")}`);
      return 0;
    } finally {
      screen.close();
      await fleet.close();
    }
  } finally {
    await trainer.close();
    ending.release();
  }
}

/** The run of this configuration that has not ended, or a new one: a finished run is not run into again. */
async function startOrGoOn(options: FleetOptions & { readonly log: Log }): Promise<Fleet> {
  const name = sha256(canonicalJson(options.config));
  for (let count = 1; ; count++) {
    const fleet = await startFleet({ ...options, key: `${name}-${count}` });
    const { phase, stopped } = fleet.engine.run;
    if (phase !== "finished") {
      if (stopped !== undefined) await fleet.engine.submit({ type: "resume" });
      return fleet;
    }
    await fleet.close();
  }
}
