/** `fedloom replay`: the benchmark's table, cell by cell, with a report at the end. */
import { mkdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { Argument, Option } from "commander";
import { shapeOf } from "../scenarios/replay/benchmark-data.ts";
import { cellId, selectCells } from "../scenarios/replay/cell.ts";
import { lockReplay } from "../scenarios/replay/lock.ts";
import { PROFILES, profileNamed, type ReplayProfile } from "../scenarios/replay/profiles.ts";
import { prepareReplay, replay } from "../scenarios/replay/replay.ts";
import { cellOf } from "../scenarios/replay/report/tables.ts";
import { REPORT_FILES, writeReport } from "../scenarios/replay/report/write.ts";
import type { CellRecord } from "../scenarios/replay/result-files.ts";
import { freeRoom, jobBytes } from "../scenarios/replay/room.ts";
import { baseHash } from "../training/models/base-hash.ts";
import { openModelDirectory } from "../training/models/model-directory.ts";
import { type Cli, type CommonOptions, wholeNumber } from "./cli.ts";
import { embeddedModelDirectory } from "./demo/assets.ts";
import { openLogFile } from "./logging.ts";
import { packageVersion } from "./package.ts";
import { openCellProcess } from "./replay/cell-processes.ts";
import { countdown, duration, estimateOf } from "./replay/estimate.ts";
import { DEVICES, type Device } from "./trainers.ts";

interface ReplayOptions extends CommonOptions {
  readonly profile: string;
  readonly cells?: string;
  readonly out?: string;
  readonly data?: string;
  readonly model?: string;
  readonly device: Device;
  readonly jobs?: number;
  readonly threads: number;
  readonly retry?: boolean;
  readonly list?: boolean;
  readonly estimate?: boolean;
}

export function registerReplay(cli: Cli): void {
  const profiles = PROFILES.map(({ name }) => name).join(", ");
  cli
    .command("replay", "Run a benchmark's table and write the report; stopped and started again it goes on.")
    .addArgument(new Argument("<benchmark>", "which one").choices(["fedmllm"]))
    .option("--profile <name>", `how much of it: ${profiles}`, "quick")
    .option("--cells <glob>", 'only these, such as "hateful-memes/missing-*/fedyogi*"')
    .option("--out <dir>", "where cells and report go; replays/fedmllm-<profile> where absent")
    .option("--data <dir>", "the real datasets, in folders as published; drawn stand-ins where absent")
    .option("--model <dir>", "model directory; the embedded one where absent")
    .addOption(new Option("--device <name>", "what to compute on").choices(DEVICES).default("cpu"))
    .option("--jobs <n>", "cells at a time; as cores and memory allow where absent", wholeNumber(1))
    .option(
      "--threads <n>",
      "threads of each job; numbers may differ in the last bits by it",
      wholeNumber(1),
      1,
    )
    .option("--retry", "run cells that failed again")
    .option("--estimate", "measure a step and a scoring, print how long it will take, and run nothing")
    .option("--list", "print the names of the cells and run none")
    .action(async (_: string, options: ReplayOptions) => {
      const named = profileNamed(options.profile);
      const profile = options.model === undefined ? named : { ...named, protocols: named.forLargeModels };
      if (options.list) {
        const names = selectCells(profile.cells, options.cells).map(cellId);
        cli.output(options).result("replay-list/1", { profile: profile.name, cells: names }, names);
        return;
      }
      const { out = join("replays", `fedmllm-${profile.name}`) } = options;
      mkdirSync(out, { recursive: true });
      const unlock = lockReplay(out);
      try {
        await replayInto(out, profile, options, cli);
      } finally {
        unlock();
      }
    });
}

async function replayInto(
  out: string,
  profile: ReplayProfile,
  options: ReplayOptions,
  cli: Cli,
): Promise<void> {
  const output = cli.output(options);
  const { model = embeddedModelDirectory() } = options;
  const jobs = options.jobs ?? (await fittingJobs(options, model, out));
  const log = join(out, "replay.log");
  const { device, threads } = options;
  const base = await baseHash(await openModelDirectory(model));
  const replayOptions = {
    profile,
    cells: options.cells,
    out,
    data: options.data,
    model,
    baseHash: base,
    jobs,
    retry: options.retry === true,
  };
  const prepared = await prepareReplay(replayOptions);
  const { pending } = prepared;
  const openRunner = () => openCellProcess({ choice: { model, device, threads }, data: prepared.data, log });
  const real = options.data !== undefined || options.model !== undefined;
  if (pending.length > 0 && (real || options.estimate)) {
    const estimate = await estimateOf(pending, profile.protocols, jobs, openRunner);
    if (options.estimate) return output.result("replay-estimate/1", estimate.data, estimate.lines);
    for (const text of estimate.lines) output.note(text);
  }
  const left = countdown(pending, profile.protocols, jobs);
  const replayed = await replay(replayOptions, prepared, {
    jobs,
    openRunner,
    log: openLogFile(log),
    onCell(record, { done, all, fresh }) {
      const rest = fresh
        ? restOf(left(cellOf(record), record.ok ? record.result.seconds : undefined))
        : "  (kept)";
      output.note(`${String(done).padStart(String(all).length)}/${all}  ${line(record)}${rest}`);
    },
  });
  await writeReport(out, {
    profile,
    replayed,
    model: options.model ?? "embedded",
    baseModel: base,
    drawn: options.data === undefined,
    command: commandLine(options),
    jobs,
    threads,
    version: packageVersion(),
  });
  const failed = replayed.records.filter(({ ok }) => !ok).length;
  const files = REPORT_FILES.map((name) => join(out, name));
  output.result(
    "replay/1",
    { frozen: Object.fromEntries(replayed.frozen), cells: replayed.records.length, failed, files },
    ["", `${replayed.records.length - failed} cells finished, ${failed} failed`, ...files],
  );
  if (failed > 0) cli.exitCode = 8;
}

/** As many as there are cores for their threads and free memory for their processes. */
async function fittingJobs({ device, threads }: ReplayOptions, model: string, out: string): Promise<number> {
  if (device !== "cpu") return 1;
  const byCores = Math.floor(availableParallelism() / threads);
  const byMemory = Math.floor(freeRoom(out).memoryBytes / (await jobBytes(model)));
  return Math.max(1, Math.min(byCores, byMemory));
}

/** Nothing where nothing is left, or where no cell has told yet how long one takes. */
function restOf(seconds: number): string {
  return Number.isFinite(seconds) && seconds > 0 ? `  about ${duration(seconds)} left` : "";
}

function line(record: CellRecord): string {
  const id = cellId(cellOf(record));
  if (!record.ok) return `${id}  failed: ${record.reason}`;
  const { main } = shapeOf(record.result.cell.dataset);
  return `${id}  ${main} ${record.result.metrics[main]!.toFixed(1)}  ${record.result.seconds.toFixed(0)} s`;
}

/** What a reader types to repeat it; paths as they were given. Bits depend on the number of threads, not of jobs. */
function commandLine({ profile, cells, data, model, device, threads }: ReplayOptions): string {
  return [
    `fedloom replay fedmllm --profile ${profile}`,
    ...(cells === undefined ? [] : [`--cells ${quoted(cells)}`]),
    ...(data === undefined ? [] : [`--data ${quoted(data)}`]),
    ...(model === undefined ? [] : [`--model ${quoted(model)}`]),
    ...(device === "cpu" ? [] : [`--device ${device}`]),
    ...(threads === 1 ? [] : [`--threads ${threads}`]),
  ].join(" ");
}

/** As a POSIX shell wants it. */
function quoted(text: string): string {
  return /^[\w./@:-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
