/** A run file: its form, and everything in it that names something which must exist, by line and column. */
import { buildStrategy } from "../aggregators/build.ts";
import { checkNeeds, factsOf } from "../aggregators/needs.ts";
import { loadConfig } from "../base/config.ts";
import { type ConfigDocument, configError, type KeyPath } from "../base/config-document.ts";
import { FedloomError } from "../base/errors.ts";
import { RUN_PATHS, type RunConfig, runConfig } from "../config/run.ts";
import { metricNamed } from "../data/metrics/index.ts";

export interface RunFile {
  /** Paths are absolute. */
  readonly config: RunConfig;
  readonly document: ConfigDocument;
}

/**
 * @param overrides `key.path=value` each
 * @throws FedloomError F1001 with every problem of the file's form, F3110 to F3112 for its strategy
 */
export async function loadRunFile(file: string, overrides: readonly string[] = []): Promise<RunFile> {
  const { value: config, document } = await loadConfig(runConfig, file, { overrides, paths: RUN_PATHS });
  checkStrategy(config, document);
  checkMetrics(config, document);
  return { config, document };
}

function checkStrategy(config: RunConfig, document: ConfigDocument): void {
  const built = buildStrategy(config.strategy, config.wrappers, {
    strategy: { document, at: ["strategy"] },
    wrappers: config.wrappers.map((_, i) => ({ document, at: ["wrappers", i] })),
  });
  checkNeeds(built.name, built.needs, factsOf(config));
}

function checkMetrics({ evaluation }: RunConfig, document: ConfigDocument): void {
  const problems = (evaluation?.metrics ?? []).flatMap((name, i) => {
    const at: KeyPath = ["evaluation", "metrics", i];
    try {
      metricNamed(name);
      return [];
    } catch (error) {
      if (error instanceof FedloomError) return [`${document.where(at)}: ${error.message}`];
      throw error;
    }
  });
  if (problems.length > 0) throw configError(problems);
}
