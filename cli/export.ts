/** `fedloom export`: a run's global adapter as a PEFT directory, the newest or that of a round that is kept. */
import { existsSync, readdirSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CONFIG_FILE, MODEL_FILE } from "../adapters/peft.ts";
import { FedloomError } from "../base/errors.ts";
import { sha256 } from "../base/hash.ts";
import { type Cli, type CommonOptions, wholeNumber } from "./cli.ts";
import { type CoordinatorOption, coordinatorOption, Operator } from "./operator.ts";

interface ExportOptions extends CommonOptions, CoordinatorOption {
  readonly peft: string;
  readonly round?: number | "best";
}

const FILES = [CONFIG_FILE, MODEL_FILE, "README.md"];

function roundOrBest(text: string): number | "best" {
  return text === "best" ? text : wholeNumber(0)(text);
}

export function registerExport(cli: Cli): void {
  cli
    .command("export <run>", "Write a run's global adapter as a PEFT directory.")
    .requiredOption("--peft <dir>", "a new or empty directory")
    .option(
      "--round <n|best>",
      "the adapter after this round, or after the best one where the run has keep.best; the newest where absent",
      roundOrBest,
    )
    .addOption(coordinatorOption())
    .action(async (word: string, options: ExportOptions) => {
      const { peft, round } = options;
      if (existsSync(peft) && readdirSync(peft).length > 0) {
        throw new FedloomError(
          "F1004",
          `Cannot export to "${peft}": it holds other files; name a new directory`,
          { peft },
        );
      }
      const operator = new Operator(options.coordinator);
      const { id } = await operator.find(word);
      // All of it before anything is written: an export is whole or not there.
      const files = await Promise.all(FILES.map((file) => operator.adapterFile(id, file, round)));
      await mkdir(peft, { recursive: true });
      for (const [i, file] of FILES.entries()) await writeFile(join(peft, file), files[i]!);
      const hash = sha256(files[1]!);
      cli
        .output(options)
        .result("export/1", { run: id, directory: peft, sha256: hash }, [
          `Wrote the adapter of run ${id} to ${peft} (${hash.slice(0, 12)})`,
        ]);
    });
}
