/** `fedloom fork`: a new run that goes on after a round of another. */
import { InvalidArgumentError } from "commander";
import { type Cli, type CommonOptions, collect } from "./cli.ts";
import { type CoordinatorOption, coordinatorOption, Operator } from "./operator.ts";
import { loadRunFile } from "./run-file.ts";

interface ForkOptions extends CommonOptions, CoordinatorOption {
  readonly run?: string;
  readonly set?: readonly string[];
}

export function registerFork(cli: Cli): void {
  cli
    .command("fork <run@round>", "Start a new run that goes on after a round of another one.")
    .option("--run <file>", "with this configuration; the other run's where absent")
    .option("--set <key.path=value>", "replace a value of --run; may be given several times", collect)
    .addOption(coordinatorOption())
    .action(async (place: string, options: ForkOptions) => {
      const [, word, round] = /^(.+)@(\d+)$/.exec(place) ?? [];
      if (word === undefined)
        throw new InvalidArgumentError(`"${place}" must have the form RUN@ROUND, such as k3f7ab2@5.`);
      const file = options.run === undefined ? undefined : await loadRunFile(options.run, options.set);
      const operator = new Operator(options.coordinator);
      const { id: from } = await operator.find(word);
      const { id, rounds } = await operator.fork(from, Number(round), file?.config);
      cli
        .output(options)
        .result("fork/1", { run: id, from, round: Number(round), rounds }, [
          `Run ${id} goes on after round ${round} of ${from}, to round ${rounds}`,
        ]);
    });
}
