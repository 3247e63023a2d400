/**
 * `fedloom demo`: a coordinator in this process and four clients in processes of their own, over gRPC on loopback.
 * Everything it makes lies in one directory.
 */
import { existsSync, readdirSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { systemClock } from "../base/clock.ts";
import { FedloomError } from "../base/errors.ts";
import type { RunConfig } from "../config/run.ts";
import { LOCAL_COMMAND } from "../server/journal/trail.ts";
import { type Cli, type CommonOptions, wholeNumber } from "./cli.ts";
import { runDirectory, type Serving, serve } from "./coordinator/serve.ts";
import { watchRun } from "./coordinator/watch.ts";
import { embeddedModelDirectory } from "./demo/assets.ts";
import { startClientProcesses } from "./demo/client-processes.ts";
import { SITES, writeDemoData, writePooledData } from "./demo/data.ts";
import { type DemoOutcome, reportLines, reportPage } from "./demo/report.ts";
import { demoRunFile } from "./demo/run-file.ts";
import type { ExitCode } from "./exit-codes.ts";
import { openLogFile } from "./logging.ts";
import type { Output } from "./output.ts";
import { loadRunFile } from "./run-file.ts";
import { createRunScreen } from "./screen/run-screen.ts";
import { type Ending, onEnding } from "./signals.ts";

interface DemoOptions extends CommonOptions {
  readonly out?: string;
  readonly rounds: number;
  readonly seed: number;
  readonly prepare?: boolean;
}

/** Held-out accuracy is above 95 % after three of them, with the data and run seed 7. */
const ROUNDS = 8;

export function registerDemo(cli: Cli): void {
  cli
    .command("demo", "Train an adapter with a coordinator and four client processes on this machine.")
    .option("--out <dir>", "where everything goes; runs/demo, or the next free name after it, where absent")
    .option("--rounds <n>", "rounds to train", wholeNumber(1), ROUNDS)
    .option("--seed <k>", "seed of the data and of the run", wholeNumber(0), 7)
    .option("--prepare", "write the data and the run file only, to start coordinator and clients by hand")
    .action(async (options: DemoOptions) => {
      const ending = onEnding();
      try {
        cli.exitCode = await runDemo(options, cli.output(options), ending);
      } finally {
        ending.release();
      }
    });
}

async function runDemo(options: DemoOptions, output: Output, ending: Ending): Promise<ExitCode> {
  const out = await outDirectory(options.out);
  const { rounds, seed } = options;
  const examples = await writeDemoData(join(out, "data"), seed);
  const runFile = join(out, "demo.yaml");
  await writeFile(runFile, demoRunFile({ model: embeddedModelDirectory(), rounds, seed }));
  output.line(
    `Wrote ${examples} examples of ${SITES.length} sites and a held-out set to ${shown(join(out, "data"))}`,
  );
  if (options.prepare) {
    await writePooledData(join(out, "data", "pooled"), seed);
    output.result("demo-prepared/1", { out, runFile, sites: SITES }, [`Run file: ${shown(runFile)}`]);
    return 0;
  }
  const { config } = await loadRunFile(runFile);
  await mkdir(join(out, "logs"), { recursive: true });
  const log = openLogFile(join(out, "logs", "coordinator.log"));
  const serving = await serve({
    state: stateOf(out),
    listen: "127.0.0.1:0",
    engine: { device: "cpu", threads: 1 },
    log,
  });
  try {
    return await trainTogether(out, serving, config, output, ending);
  } finally {
    await serving.close();
  }
}

async function trainTogether(
  out: string,
  { coordinator, model, address = "" }: Serving,
  config: RunConfig,
  output: Output,
  ending: Ending,
): Promise<ExitCode> {
  const before =
    (await model.evaluate?.(config, await model.createAdapter(config, ending.signal), ending.signal)) ?? {};
  const { row } = await coordinator.submitRun({ config, by: LOCAL_COMMAND });
  output.line(
    `Run ${row.id}: ${config.rounds} rounds, coordinator on ${address}, logs in ${shown(join(out, "logs"))}`,
  );
  const screen = createRunScreen(output.json ? process.stderr : process.stdout, systemClock.monotonic);
  const clients = startClientProcesses(
    SITES.map(({ name }) => ({ name, ...clientFiles(out, name, address, config.model) })),
    {
      clock: systemClock,
      onDeath: ({ name, logFile }, how) =>
        screen.print(`client ${name} ended (${how}); the others go on, see ${shown(logFile)}`),
    },
  );
  try {
    const view = await watchRun(coordinator, row.id, screen, ending.signal);
    screen.close();
    if (ending.signal.aborted) {
      output.note(`Interrupted in round ${view.round}; the files so far are in ${shown(out)}`);
      return ending.exitCode();
    }
    if (view.status !== "finished") return 8;
    const outcome = { view, before, files: filesOf(out, runDirectory(stateOf(out), row.id)) };
    await report(out, outcome, output);
    return 0;
  } finally {
    screen.close();
    await clients.close();
  }
}

function stateOf(out: string): string {
  return join(out, "coordinator");
}

function clientFiles(out: string, name: string, address: string, model: string) {
  const args = ["--join", address, "--name", name, "--data", join(out, "data", name), "--model", model];
  const own = ["--state", join(out, "clients", name), "--threads", "1", "--log", "pretty"];
  return { args: [...args, ...own], logFile: join(out, "logs", `${name}.log`) };
}

function filesOf(out: string, runDirectory: string): Record<string, string> {
  return {
    adapter: shown(join(runDirectory, "adapter")),
    metrics: shown(join(runDirectory, "metrics.jsonl")),
    summary: shown(join(runDirectory, "summary.json")),
    report: shown(join(out, "report.md")),
  };
}

async function report(out: string, outcome: DemoOutcome, output: Output): Promise<void> {
  await writeFile(join(out, "report.md"), reportPage(outcome));
  const { view, before, files } = outcome;
  output.result("demo/1", { run: view.id, before, rounds: view.history, files }, [
    "",
    ...reportLines(outcome),
  ]);
}

/** The directory asked for, which must be new or empty, or the first free one of runs/demo, runs/demo-2, ... */
async function outDirectory(asked: string | undefined): Promise<string> {
  let out = asked ?? join("runs", "demo");
  for (let next = 2; asked === undefined && isTaken(out); next++) out = join("runs", `demo-${next}`);
  if (isTaken(out)) {
    throw new FedloomError(
      "F1004",
      `Cannot write the demo to "${out}": it holds other files; name a new directory`,
      {
        out,
      },
    );
  }
  await mkdir(out, { recursive: true });
  return out;
}

function isTaken(directory: string): boolean {
  return existsSync(directory) && readdirSync(directory).length > 0;
}

function shown(path: string): string {
  const near = relative(process.cwd(), path);
  return near.startsWith("..") ? path : near;
}
