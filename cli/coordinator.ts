/** `fedloom coordinator`: the server. Its state directory survives anything; started again on it, it goes on. */
import { Option } from "commander";
import { systemClock } from "../base/clock.ts";
import { canonicalJson, sha256 } from "../base/hash.ts";
import type { Coordinator } from "../server/coordinator.ts";
import { LOCAL_COMMAND } from "../server/journal/trail.ts";
import { parseAddress } from "./address.ts";
import { type Cli, type CommonOptions, collect, wholeNumber } from "./cli.ts";
import { runDirectory, serve } from "./coordinator/serve.ts";
import { viewNow, watchRun } from "./coordinator/watch.ts";
import { requireDevice } from "./doctor/provider.ts";
import type { ExitCode } from "./exit-codes.ts";
import { type LogFormat, logOption, openLog } from "./logging.ts";
import { DEFAULT_HTTP } from "./operator.ts";
import type { Output } from "./output.ts";
import { loadRunFile } from "./run-file.ts";
import { createRunScreen, type RunScreen } from "./screen/run-screen.ts";
import { hasEnded } from "./screen/view.ts";
import { onEnding } from "./signals.ts";
import { DEVICES, type Device } from "./trainers.ts";

interface CoordinatorOptions extends CommonOptions {
  readonly state: string;
  readonly listen: string;
  readonly http: string;
  readonly publicName?: readonly string[];
  readonly run?: string;
  readonly set?: readonly string[];
  readonly untilDone?: boolean;
  readonly device: Device;
  readonly threads?: number;
  readonly log: LogFormat;
}

export function registerCoordinator(cli: Cli): void {
  cli
    .command("coordinator", "Hand out adapters, collect updates and aggregate them, for clients that join.")
    .requiredOption("--state <dir>", "where everything is kept; started again on it, runs go on")
    .option("--listen <host:port>", "address for clients", parseAddress, "127.0.0.1:7443")
    .option("--http <host:port>", "address for operators", parseAddress, DEFAULT_HTTP)
    .option(
      "--public-name <host>",
      "a further name or address that clients reach it by, for its certificate; may be given several times",
      collect,
    )
    .option("--run <file>", "start this run, or go on with it where it was started before")
    .option("--set <key.path=value>", "replace a value of the run file; may be given several times", collect)
    .option("--until-done", "end when every run has ended; exit code 8 unless all finished")
    .addOption(new Option("--device <name>", "what to evaluate on").choices(DEVICES).default("cpu"))
    .option("--threads <n>", "threads to evaluate with; all cores where absent", wholeNumber(1))
    .addOption(logOption())
    .action(async (options: CoordinatorOptions) => {
      cli.exitCode = await runCoordinator(options, cli.output(options));
    });
}

async function runCoordinator(options: CoordinatorOptions, output: Output): Promise<ExitCode> {
  const ending = onEnding();
  const screen = createRunScreen(output.json ? process.stderr : process.stdout, systemClock.monotonic);
  const log = openLog(options, screen.print);
  const { state, listen, http, publicName: names, device, threads } = options;
  // Read before anything is opened: a run file that is wrong should leave nothing behind.
  const file = options.run === undefined ? undefined : await loadRunFile(options.run, options.set);
  await requireDevice(device);
  const engine = { device, ...(threads === undefined ? {} : { threads }) };
  const { coordinator, address, httpUrl, close } = await serve({ state, listen, http, names, engine, log });
  try {
    log.info("Coordinator is up", { clients: address, operators: httpUrl, state });
    if (file !== undefined) {
      // The same file again is the same run: starting again with the same command goes on.
      const { row } = await coordinator.submitRun({
        config: file.config,
        key: sha256(canonicalJson(file.config)),
        by: LOCAL_COMMAND,
      });
      output.line(
        `Run ${row.id} "${row.config.name}": ${row.config.rounds} rounds, files in ${runDirectory(state, row.id)}`,
      );
    }
    await followRuns(coordinator, screen, ending.signal, options.untilDone === true);
    screen.close();
    const views = coordinator.runs().map(({ row }) => viewNow(coordinator, row.id));
    const runs = views.map(({ id, name, status, round, rounds }) => ({ id, name, status, round, rounds }));
    output.result("coordinator/1", { state, runs });
    if (ending.signal.aborted) {
      const open = views
        .filter((view) => !hasEnded(view))
        .map(({ id, round }) => `run ${id} in round ${round}`);
      output.note(
        `Ended${open.length === 0 ? "" : ` with ${open.join(", ")}`}; the same command goes on from here`,
      );
      return ending.exitCode();
    }
    return views.every(({ status }) => status === "finished") ? 0 : 8;
  } finally {
    screen.close();
    await close();
    ending.release();
  }
}

/** Shows one run after another, the oldest that has not ended first, and waits for new ones. */
async function followRuns(
  coordinator: Coordinator,
  screen: RunScreen,
  signal: AbortSignal,
  untilDone: boolean,
): Promise<void> {
  while (!signal.aborted) {
    const open = coordinator.runs().find(({ row }) => !hasEnded(viewNow(coordinator, row.id)));
    if (open !== undefined) await watchRun(coordinator, open.row.id, screen, signal);
    else if (untilDone) return;
    else await nextLook(coordinator, signal);
  }
}

/** A run may be submitted over HTTP at any time; a look a second costs nothing. */
const LOOK_MS = 1_000;

function nextLook(coordinator: Coordinator, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const cancel = systemClock.after(LOOK_MS, done);
    function done(): void {
      cancel();
      signal.removeEventListener("abort", done);
      resolve();
    }
    signal.addEventListener("abort", done, { once: true });
    coordinator.broken.catch(reject);
  });
}
