/** `fedloom doctor`: what this machine can run, and for each no the reason and the command that mends it. */
import type { Cli, CommonOptions } from "./cli.ts";
import type { Check } from "./doctor/check.ts";
import { allChecks } from "./doctor/checks.ts";
import { packageVersion } from "./package.ts";
import { table } from "./table.ts";

export function registerDoctor(cli: Cli): void {
  cli
    .command("doctor", "Show what this machine can run, why not, and the command that mends it.")
    .action(async (options: CommonOptions) => {
      const checks = await allChecks(process.cwd());
      const broken = checks.filter((check) => check.required && !check.ok);
      const data = { version: packageVersion(), ok: broken.length === 0, checks };
      cli
        .output(options)
        .result("doctor/1", data, [
          `fedloom ${packageVersion()}`,
          "",
          ...table([{ title: "what" }, { title: "" }, { title: "finding" }], checks.map(row)),
          ...remedies(checks),
          "",
          broken.length === 0
            ? "Ready. Try: npm run demo"
            : `Not ready: ${broken.map((check) => check.name).join(", ")}`,
        ]);
      if (broken.length > 0) cli.exitCode = 8;
    });
}

function row(check: Check): string[] {
  return [check.name, check.ok ? "yes" : "no", check.finding];
}

function remedies(checks: readonly Check[]): string[] {
  const lines = checks
    .filter((check) => !check.ok && check.remedy !== undefined)
    .map((check) => [check.name, check.remedy!]);
  return lines.length === 0 ? [] : ["", ...table([{ title: "to get" }, { title: "run" }], lines)];
}
