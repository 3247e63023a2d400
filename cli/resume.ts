/** `fedloom resume`: a stopped or failed run goes on where it was. */
import type { Cli, CommonOptions } from "./cli.ts";
import { type CoordinatorOption, coordinatorOption, Operator } from "./operator.ts";

export function registerResume(cli: Cli): void {
  cli
    .command("resume <run>", "Let a stopped or failed run go on where it was.")
    .addOption(coordinatorOption())
    .action(async (word: string, options: CommonOptions & CoordinatorOption) => {
      const operator = new Operator(options.coordinator);
      const { id } = await operator.find(word);
      const { status, round, rounds } = await operator.resume(id);
      const line =
        status === "finished"
          ? `Run ${id} is finished: all ${rounds} rounds are done`
          : `Run ${id} goes on with round ${round} of ${rounds}`;
      cli.output(options).result("resume/1", { run: id, status, round, rounds }, [line]);
    });
}
