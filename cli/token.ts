/** `fedloom token`, `fedloom audit`: who may operate the coordinator, and who did what. */
import { Option } from "commander";
import { type Cli, type CommonOptions, wholeNumber } from "./cli.ts";
import { type CoordinatorOption, coordinatorOption, Operator, TOKEN_VARIABLE } from "./operator.ts";
import { table } from "./table.ts";

type Options = CommonOptions & CoordinatorOption;

interface TokenOptions extends Options {
  readonly role: "operator" | "viewer";
  readonly days: number;
  readonly withdraw?: boolean;
}

export function registerToken(cli: Cli): void {
  cli
    .command("token <name>", "Make a token with which somebody operates the coordinator from elsewhere.")
    .addOption(
      new Option("--role <role>", "an operator may do everything, a viewer may look")
        .choices(["operator", "viewer"])
        .default("operator"),
    )
    .option("--days <n>", "how long it counts", wholeNumber(1), 90)
    .option("--withdraw", "take back all tokens of this name, at once")
    .addOption(coordinatorOption())
    .action(async (name: string, options: TokenOptions) => {
      const { role, days } = options;
      if (options.withdraw) {
        const withdrawn = await new Operator(options.coordinator).dismiss(name);
        const tokens = withdrawn === 1 ? "1 token" : `${withdrawn} tokens`;
        cli.output(options).result("withdraw/1", { name, withdrawn }, [`Withdrew ${tokens} of "${name}"`]);
        return;
      }
      const token = await new Operator(options.coordinator).admit(name, role, days);
      cli
        .output(options)
        .result("token/1", { name, role, days, token }, [
          token,
          "",
          `It counts for ${days} days. Whoever has it sets ${TOKEN_VARIABLE} to it, and NODE_EXTRA_CA_CERTS to a copy`,
          "of the coordinator's ca/authority.pem, and gives --coordinator https://HOST:PORT to each command.",
        ]);
    });
}

export function registerAudit(cli: Cli): void {
  cli
    .command("audit", "Show who did what: invited, joined, revoked, started and stopped; the newest last.")
    .addOption(coordinatorOption())
    .action(async (options: Options) => {
      const entries = await new Operator(options.coordinator).audit();
      const rows = entries.map(({ atMs, who, what }) => [
        new Date(atMs).toISOString().slice(0, 19).replace("T", " "),
        who,
        what,
      ]);
      const titles = ["when", "who", "what"].map((title) => ({ title }));
      cli
        .output(options)
        .result(
          "audit/1",
          { audit: entries },
          rows.length === 0 ? ["Nothing was done yet"] : table(titles, rows),
        );
    });
}
