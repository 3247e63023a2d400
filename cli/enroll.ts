/** `fedloom enroll`, `fedloom sites`, `fedloom revoke`: which sites the coordinator serves. */
import { type Cli, type CommonOptions, wholeNumber } from "./cli.ts";
import { type CoordinatorOption, coordinatorOption, Operator } from "./operator.ts";
import { table } from "./table.ts";

type Options = CommonOptions & CoordinatorOption;
type EnrollOptions = Options & { readonly minutes: number; readonly withdraw?: boolean };

export function registerEnroll(cli: Cli): void {
  cli
    .command("enroll <site>", "Invite a site: prints a join token that works once.")
    .option("--minutes <n>", "how long the token counts", wholeNumber(1), 60)
    .option("--withdraw", "take back the site's join tokens that nobody has used")
    .addOption(coordinatorOption())
    .action(async (site: string, options: EnrollOptions) => {
      const operator = new Operator(options.coordinator);
      if (options.withdraw) {
        const withdrawn = await operator.withdraw(site);
        const tokens = withdrawn === 1 ? "1 join token" : `${withdrawn} join tokens`;
        cli
          .output(options)
          .result("withdraw/1", { site, withdrawn }, [`Withdrew ${tokens} of site "${site}"`]);
        return;
      }
      const { name, token, minutes } = await operator.invite(site, options.minutes);
      cli
        .output(options)
        .result("enroll/1", { site: name, token, minutes }, [
          token,
          "",
          `Give it to site "${name}" over a channel that others do not read; it counts for ${minutes} minutes, once:`,
          `fedloom client --token TOKEN --join HOST:PORT --data DIR --model DIR --state DIR`,
        ]);
    });
}

export function registerSites(cli: Cli): void {
  cli
    .command("sites", "List the sites that hold a certificate.")
    .addOption(coordinatorOption())
    .action(async (options: Options) => {
      const sites = await new Operator(options.coordinator).sites();
      const rows = sites.map(({ name, enrolledAtMs, notAfterMs, revokedAtMs }) => [
        name,
        revokedAtMs === undefined ? "enrolled" : `revoked ${day(revokedAtMs)}`,
        day(enrolledAtMs),
        day(notAfterMs),
      ]);
      const titles = ["site", "status", "since", "certificate until"].map((title) => ({ title }));
      cli
        .output(options)
        .result("sites/1", { sites }, rows.length === 0 ? ["No site is enrolled"] : table(titles, rows));
    });
}

export function registerRevoke(cli: Cli): void {
  cli
    .command("revoke <site>", "Stop serving a site; it can be enrolled again.")
    .addOption(coordinatorOption())
    .action(async (site: string, options: Options) => {
      await new Operator(options.coordinator).revoke(site);
      cli.output(options).result("revoke/1", { site }, [`Site "${site}" is not served any more`]);
    });
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
