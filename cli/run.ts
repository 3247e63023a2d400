/** `fedloom run`: starts a run at a coordinator, or, without one, with a fleet of clients in this process. */
import { join } from "node:path";
import { Option } from "commander";
import { type Cli, type CommonOptions, collect, wholeNumber } from "./cli.ts";
import { parseUrl } from "./operator.ts";
import { runLocally } from "./run/local.ts";
import { runRemotely } from "./run/remote.ts";
import { loadRunFile } from "./run-file.ts";
import { DEVICES, type Device, FAST_HELP } from "./trainers.ts";

interface RunOptions extends CommonOptions {
  readonly coordinator?: string;
  readonly set?: readonly string[];
  readonly detach?: boolean;
  readonly out?: string;
  readonly device: Device;
  readonly threads?: number;
  readonly fast?: true;
}

export function registerRun(cli: Cli): void {
  cli
    .command("run <file>", "Start a run from a run file, and show it until it ends.")
    .addHelpText(
      "after",
      '\nIn this process, clients of a round train in common passes: fleet.batching (true, false or how many at most)\nand fleet.memory ("4GiB") in the file say how many; false gives the bits of a networked run. See docs/scenarios.md.',
    )
    .option(
      "--coordinator <url>",
      "HTTP address of a coordinator; everything runs in this process without it",
      parseUrl,
    )
    .option("--set <key.path=value>", "replace a value of the file; may be given several times", collect)
    .option("-d, --detach", "start the run at the coordinator and return")
    .option("--out <dir>", "in this process: where runs are kept; runs/<name of the run> where absent")
    .addOption(
      new Option("--device <name>", "in this process: what to train on").choices(DEVICES).default("cpu"),
    )
    .option(
      "--threads <n>",
      "in this process: threads to compute with; all cores where absent",
      wholeNumber(1),
    )
    .option("--fast", `in this process: ${FAST_HELP}`)
    .action(async (file: string, options: RunOptions) => {
      const { config } = await loadRunFile(file, options.set);
      const output = cli.output(options);
      const { coordinator: url, detach = false, out = join("runs", config.name) } = options;
      const { device, threads, fast } = options;
      const engine = {
        device,
        ...(threads !== undefined && { threads }),
        ...(fast === true && { mode: "fast" as const }),
      };
      cli.exitCode =
        url === undefined
          ? await runLocally(config, { out, ...engine }, output)
          : await runRemotely(config, { url, detach }, output);
    });
}
