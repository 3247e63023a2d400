/** `fedloom merge`: a copy of a model whose weights hold an adapter, for runtimes that know nothing of LoRA. */
import { Option } from "commander";
import { readPeft } from "../adapters/peft.ts";
import { mergeModel } from "../training/merge/merge-model.ts";
import { baseHash } from "../training/models/base-hash.ts";
import { openModelDirectory, type Precision, SUFFIXES } from "../training/models/model-directory.ts";
import type { Cli, CommonOptions } from "./cli.ts";
import { bytes } from "./units.ts";

interface MergeOptions extends CommonOptions {
  readonly adapter: string;
  readonly out: string;
  readonly precision?: Precision;
  readonly skipMissing?: boolean;
}

export function registerMerge(cli: Cli): void {
  cli
    .command(
      "merge <model>",
      "Write a copy of a model directory with a PEFT adapter merged into its weights.",
    )
    .requiredOption("--adapter <dir>", "a PEFT directory")
    .requiredOption("--out <dir>", "a new directory")
    .option("--skip-missing", "leave out layers that the exporter dropped because no output depends on them")
    .addOption(
      new Option("--precision <name>", "which graphs to merge into; the best there is where absent").choices(
        Object.keys(SUFFIXES),
      ),
    )
    .action(async (model: string, options: MergeOptions) => {
      const { precision, skipMissing = false } = options;
      const adapter = readPeft(options.adapter);
      const base = await baseHash(await openModelDirectory(model, precision));
      const madeFor = adapter.config.base;
      const sameBase = madeFor === "" ? null : madeFor === base;
      const report = await mergeModel(model, adapter, options.out, {
        skipMissing,
        ...(precision === undefined ? {} : { precision }),
      });
      cli.output(options).result("merge/1", { directory: options.out, base, sameBase, ...report }, [
        ...Object.entries(report.graphs).map(([graph, weights]) => `${graph}: ${weights} weights changed`),
        ...(report.skipped.length > 0
          ? [`Left out ${report.skipped.length} tensors: ${report.skipped[0]}, …`]
          : []),
        // Another precision of the same model has another hash, so this is told and not refused.
        ...(sameBase === false
          ? [`The adapter was made for base model ${madeFor.slice(0, 12)}, this is ${base.slice(0, 12)}`]
          : []),
        `Wrote ${options.out} (${bytes(report.bytes)} of weights merged)`,
      ]);
    });
}
