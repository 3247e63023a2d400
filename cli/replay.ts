/** `fedloom replay`: the benchmark's table, cell by cell, with a report at the end. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Argument, Option } from "commander";
import { shapeOf } from "../scenarios/replay/benchmark-data.ts";
import { cellId, selectCells } from "../scenarios/replay/cell.ts";
import { PROFILES, profileNamed } from "../scenarios/replay/profiles.ts";
import { replay } from "../scenarios/replay/replay.ts";
import { cellOf } from "../scenarios/replay/report/tables.ts";
import { REPORT_FILES, writeReport } from "../scenarios/replay/report/write.ts";
import type { CellRecord } from "../scenarios/replay/result-files.ts";
import { type Cli, type CommonOptions, wholeNumber } from "./cli.ts";
import { embeddedModelDirectory } from "./demo/assets.ts";
import { openLogFile } from "./logging.ts";
import { packageVersion } from "./package.ts";
import { DEVICES, type Device, openTrainer } from "./trainers.ts";

interface ReplayOptions extends CommonOptions {
  readonly profile: string;
  readonly cells?: string;
  readonly out?: string;
  readonly data?: string;
  readonly model?: string;
  readonly device: Device;
  readonly threads?: number;
  readonly retry?: boolean;
  readonly list?: boolean;
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
    .option("--threads <n>", "threads to compute with; all cores where absent", wholeNumber(1))
    .option("--retry", "run cells that failed again")
    .option("--list", "print the names of the cells and run none")
    .action(async (_: string, options: ReplayOptions) => {
      const profile = profileNamed(options.profile);
      const output = cli.output(options);
      if (options.list) {
        const names = selectCells(profile.cells, options.cells).map(cellId);
        output.result("replay-list/1", { profile: profile.name, cells: names }, names);
        return;
      }
      const {
        out = join("replays", `fedmllm-${profile.name}`),
        model = embeddedModelDirectory(),
        device,
        threads,
      } = options;
      mkdirSync(out, { recursive: true });
      const trainer = await openTrainer("onnx", {
        model,
        device,
        ...(threads === undefined ? {} : { threads }),
      });
      try {
        const startedMs = performance.now();
        let ran = 0;
        const replayed = await replay({
          profile,
          cells: options.cells,
          out,
          data: options.data,
          model,
          trainer,
          device,
          log: openLogFile(join(out, "replay.log")),
          retry: options.retry === true,
          onCell(record, { done, all, fresh }) {
            if (fresh) ran++;
            const perCell = (performance.now() - startedMs) / Math.max(1, ran);
            const left = fresh ? `  about ${duration(((all - done) * perCell) / 1000)} left` : "  (kept)";
            output.note(`${String(done).padStart(String(all).length)}/${all}  ${line(record)}${left}`);
          },
        });
        await writeReport(out, {
          profile,
          replayed,
          model: options.model ?? "embedded",
          baseModel: trainer.baseHash,
          drawn: options.data === undefined,
          command: commandLine(options),
          version: packageVersion(),
        });
        const failed = replayed.records.filter(({ ok }) => !ok).length;
        const files = REPORT_FILES.map((name) => join(out, name));
        output.result(
          "replay/1",
          { frozen: replayed.frozen, cells: replayed.records.length, failed, files },
          ["", `${replayed.records.length - failed} cells finished, ${failed} failed`, ...files],
        );
        if (failed > 0) cli.exitCode = 8;
      } finally {
        await trainer.close();
      }
    });
}

function line(record: CellRecord): string {
  const id = cellId(cellOf(record));
  if (!record.ok) return `${id}  failed: ${record.reason}`;
  const { main } = shapeOf(record.result.cell.dataset);
  return `${id}  ${main} ${record.result.metrics[main]!.toFixed(1)}  ${record.result.seconds.toFixed(0)} s`;
}

function duration(seconds: number): string {
  return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
}

/** What a reader types to repeat it; paths as they were given. Bits depend on the number of threads. */
function commandLine({ profile, cells, data, model, device, threads }: ReplayOptions): string {
  return [
    `fedloom replay fedmllm --profile ${profile}`,
    ...(cells === undefined ? [] : [`--cells ${quoted(cells)}`]),
    ...(data === undefined ? [] : [`--data ${quoted(data)}`]),
    ...(model === undefined ? [] : [`--model ${quoted(model)}`]),
    ...(device === "cpu" ? [] : [`--device ${device}`]),
    ...(threads === undefined ? [] : [`--threads ${threads}`]),
  ].join(" ");
}

/** As a POSIX shell wants it. */
function quoted(text: string): string {
  return /^[\w./@:-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
