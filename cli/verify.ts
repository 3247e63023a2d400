/** `fedloom verify`: aggregates a run's rounds again and compares the hashes with the journal's. */
import { type Cli, type CommonOptions, wholeNumber } from "./cli.ts";
import { type CoordinatorOption, coordinatorOption, Operator } from "./operator.ts";
import { table } from "./table.ts";

interface VerifyOptions extends CommonOptions, CoordinatorOption {
  readonly round?: number;
}

export function registerVerify(cli: Cli): void {
  cli
    .command(
      "verify <run>",
      "Aggregate the rounds that are kept again and compare hashes; exit code 8 for a difference.",
    )
    .option("--round <n>", "only this round", wholeNumber(1))
    .addOption(coordinatorOption())
    .action(async (word: string, options: VerifyOptions) => {
      const operator = new Operator(options.coordinator);
      const { id } = await operator.find(word);
      const verifications = await operator.verify(id, options.round);
      const equal = verifications.every((one) => one.equal);
      const rows = verifications.map(({ round, recorded, again, equal }) => [
        String(round),
        equal ? "equal" : "DIFFERENT",
        recorded.slice(0, 12),
        again.slice(0, 12),
      ]);
      const titles = ["round", "", "recorded", "again"].map((title) => ({ title }));
      cli
        .output(options)
        .result(
          "verify/1",
          { run: id, equal, verifications },
          rows.length === 0 ? ["No round's updates are kept"] : table(titles, rows),
        );
      if (!equal) cli.exitCode = 8;
    });
}
