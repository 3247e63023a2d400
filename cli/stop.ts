/** `fedloom stop`: ends a run after its round, or at once. A stopped run can be resumed. */
import type { Cli, CommonOptions } from "./cli.ts";
import { type CoordinatorOption, coordinatorOption, Operator } from "./operator.ts";

interface StopOptions extends CommonOptions, CoordinatorOption {
  readonly now?: boolean;
}

export function registerStop(cli: Cli): void {
  cli
    .command("stop <run>", "Stop a run when its round is done; it can be resumed.")
    .option("--now", "do not wait for the round; clients' unfinished work is dropped")
    .addOption(coordinatorOption())
    .action(async (word: string, options: StopOptions) => {
      const operator = new Operator(options.coordinator);
      const { id } = await operator.find(word);
      const { status, round } = await operator.stop(id, options.now === true);
      cli
        .output(options)
        .result("stop/1", { run: id, status, round }, [
          status === "stopping"
            ? `Run ${id} stops when round ${round} is done`
            : status === "finished"
              ? `Run ${id} is finished: there is nothing to stop`
              : `Run ${id} is ${status}; go on with: fedloom resume ${id}`,
        ]);
    });
}
