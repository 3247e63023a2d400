/** A folder with data and a run file, and coordinators in it, for tests that start real processes. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { embeddedModelDirectory } from "../../cli/demo/assets.ts";
import { writeDemoData } from "../../cli/demo/data.ts";
import { type Running, start } from "./process.ts";

export interface Federation {
  readonly directory: string;
  readonly model: string;
  /** @param listen and http: port 0 takes a free one */
  startCoordinator(state: string, listen?: string, http?: string, ...more: string[]): Running;
}

/** @param lines of run.yaml, beside name, model, adapter and training */
export async function makeFederation(lines: readonly string[]): Promise<Federation> {
  const directory = mkdtempSync(join(tmpdir(), "fedloom-federation-"));
  const model = embeddedModelDirectory();
  await writeDemoData(join(directory, "data"), 3);
  const run = [
    "name: colors",
    `model: ${JSON.stringify(model)}`,
    "adapter: { rank: 4, alpha: 8 }",
    "training: { learning_rate: 5e-3, max_steps: 2, per_device_train_batch_size: 8 }",
    ...lines,
  ];
  writeFileSync(join(directory, "run.yaml"), `${run.join("\n")}\n`);
  return {
    directory,
    model,
    startCoordinator(state, listen = "127.0.0.1:0", http = "127.0.0.1:0", ...more) {
      const where = ["--state", join(directory, state), "--listen", listen, "--http", http];
      return start(["coordinator", ...where, "--threads", "1", "--log", "json", ...more]);
    },
  };
}

/** Where a coordinator listens, once it does. */
export async function addressesOf(coordinator: Running): Promise<{ clients: string; operators: string }> {
  const [line] = await coordinator.until(/\{.*"msg":"Coordinator is up"\}/);
  return JSON.parse(line);
}
