/** `fedloom run`: starts a run at a coordinator, or, without one, with a fleet of clients in this process. */
import { systemClock } from "../base/clock.ts";
import { canonicalJson, sha256 } from "../base/hash.ts";
import { type Cli, type CommonOptions, collect } from "./cli.ts";
import type { ExitCode } from "./exit-codes.ts";
import { Operator, parseUrl } from "./operator.ts";
import type { Output } from "./output.ts";
import { loadRunFile, type RunFile } from "./run-file.ts";
import { createRunScreen } from "./screen/run-screen.ts";
import { hasEnded, type RunView } from "./screen/view.ts";
import { viewOf } from "./screen/view-of-status.ts";
import { onEnding } from "./signals.ts";

interface RunOptions extends CommonOptions {
  readonly coordinator?: string;
  readonly set?: readonly string[];
  readonly detach?: boolean;
}

export function registerRun(cli: Cli): void {
  cli
    .command("run <file>", "Start a run from a run file, and show it until it ends.")
    .option(
      "--coordinator <url>",
      "HTTP address of a coordinator; without it everything runs in this process",
      parseUrl,
    )
    .option("--set <key.path=value>", "replace a value of the file; may be given several times", collect)
    .option("-d, --detach", "start the run at the coordinator and return")
    .action(async (file: string, options: RunOptions) => {
      const run = await loadRunFile(file, options.set);
      const output = cli.output(options);
      if (options.coordinator !== undefined)
        cli.exitCode = await runRemotely(run, options.coordinator, options, output);
    });
}

async function runRemotely(
  { config }: RunFile,
  url: string,
  { detach }: RunOptions,
  output: Output,
): Promise<ExitCode> {
  const operator = new Operator(url);
  // One key a start: repeated by a broken connection it is one run, started again by a person it is another.
  const key = sha256(`${canonicalJson(config)} ${systemClock.now()} ${process.pid}`);
  const { id, name, rounds, directory, seed } = await operator.submit(config, key);
  output.line(
    `Run ${id} "${name}": ${rounds} rounds, seed ${seed}${directory === undefined ? "" : `, files in ${directory} there`}`,
  );
  if (detach) {
    output.result("run/1", { run: id, name, status: "waiting" }, [
      `See it with: fedloom ls --coordinator ${url}`,
    ]);
    return 0;
  }
  const ending = onEnding();
  const screen = createRunScreen(output.json ? process.stderr : process.stdout, systemClock.monotonic);
  const lost = (reason: string): void =>
    screen.print(`The coordinator does not answer (${reason}); trying again`);
  let view: RunView | undefined;
  try {
    for await (const message of operator.watch(id, ending.signal, lost)) {
      if (message.kind !== "status") continue;
      view = viewOf(message.status, await operator.clients(), systemClock.now());
      screen.show(view);
      if (hasEnded(view)) break;
    }
  } finally {
    screen.close();
    ending.release();
  }
  const { status = "waiting", history = [] } = view ?? {};
  output.result("run/1", { run: id, name, status, rounds: history });
  if (ending.signal.aborted) {
    output.note(
      `Detached: run ${id} goes on at the coordinator; stop it with: fedloom stop ${id} --coordinator ${url}`,
    );
    return ending.exitCode();
  }
  if (status === "finished")
    output.note(`Fetch the adapter with: fedloom export ${id} --peft DIR --coordinator ${url}`);
  return status === "finished" ? 0 : 8;
}
