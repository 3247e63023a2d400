/**
 * A coordinator process with one run and the toy adapter: all of the coordinator but the model. Its one argument
 * is JSON. Started again on the same state it goes on. It ends with the test that started it.
 */
import type { z } from "zod";
import { FedloomError } from "../../base/errors.ts";
import { createLog } from "../../base/log.ts";
import { runConfig } from "../../config/run.ts";
import { startCoordinator } from "../../server/start.ts";
import { TOY_BASE, toyAdapter } from "../toy-trainer.ts";

export interface ToyCoordinatorOptions {
  readonly state: string;
  readonly listen: string;
  readonly run: z.input<typeof runConfig>;
  /** See toyAdapter. */
  readonly width?: number;
}

const options: ToyCoordinatorOptions = JSON.parse(process.argv[2]!);
const orphaned = (): void => process.exit(1);
process.on("disconnect", orphaned);

// A state that cannot be used is told by its code, as the command does.
process.on("uncaughtException", (error) => {
  console.log(error instanceof FedloomError ? `refused ${error.code}: ${error.message}` : error);
  process.exit(1);
});

const { coordinator, address, close } = await startCoordinator({
  state: options.state,
  listen: options.listen,
  log: createLog({ level: "debug", format: "pretty", write: (line) => console.log(line) }),
  model: {
    createAdapter: async () => toyAdapter(TOY_BASE, options.width),
    evaluate: async (_config, { tensors }) => ({ tensors: tensors.size }),
  },
});
const engine = await coordinator.submitRun({ config: runConfig.parse(options.run), key: "the run" });
console.log(`listening on ${address}`);

function report(): void {
  const { run } = engine;
  if (run.phase === "finished") console.log(`finished ${run.global!.model.sha256}`);
  if (run.stopped !== undefined) console.log(`stopped ${run.stopped.code}: ${run.stopped.reason}`);
}
engine.onEvent(({ event }) => {
  console.log(
    `event ${event.type}${"round" in event ? ` ${event.round}` : ""}${"client" in event ? ` ${event.client}` : ""}`,
  );
  if (event.type === "published") console.log(`round ${engine.rounds.length} published`);
  report();
});
report();
process.on("message", () => void coordinator.resume(engine.row.id));

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, async () => {
    await close();
    console.log("ended cleanly");
    process.off("disconnect", orphaned);
    process.disconnect?.();
  });
}
coordinator.broken.catch((error: unknown) => {
  console.log(`broken ${error instanceof FedloomError ? error.code : ""}: ${String(error)}`);
  process.exit(1);
});
