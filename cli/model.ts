/** `fedloom model`: what a model directory holds, and whether the training engine is right about it. */
import type { Cli } from "./cli.ts";
import { registerCheck } from "./model/check.ts";
import { registerInspect } from "./model/inspect.ts";

export function registerModel(cli: Cli): void {
  const model = cli.program
    .command("model")
    .description("Look at a model directory, and prove the training engine on it.");
  registerInspect(cli, model);
  registerCheck(cli, model);
}
