/** The LoRA pairs that an adapter's configuration asks for, among the modules of a model. */
import type { AdapterConfig } from "../../../adapters/adapter.ts";
import { FedloomError } from "../../../base/errors.ts";
import type { LoraSpec } from "../engine.ts";

/** The output projection is never meant by a suffix: PEFT leaves it out of "all-linear" too. */
const ALL_LINEAR = "all-linear";
const OUTPUT_HEADS = /(^|\.)(lm_head|classifier|score|embed_out)$/;

/**
 * @param paths module paths as PyTorch names them
 * @throws FedloomError F2113 where a target matches nothing
 */
export function loraSpecs(
  config: Pick<
    AdapterConfig,
    "targets" | "rank" | "alpha" | "rslora" | "rankPattern" | "alphaPattern" | "modulesToSave"
  >,
  paths: readonly string[],
): readonly LoraSpec[] {
  const saved = (path: string) => config.modulesToSave.some((name) => endsWithPath(path, name));
  const chosen = targeted(config.targets, paths).filter((path) => !saved(path));
  return chosen.map((path) => {
    const rank = patternValue(config.rankPattern, path) ?? config.rank;
    const alpha = patternValue(config.alphaPattern, path) ?? config.alpha;
    return { path, rank, scale: alpha / (config.rslora ? Math.sqrt(rank) : rank) };
  });
}

function targeted(targets: AdapterConfig["targets"], paths: readonly string[]): readonly string[] {
  if (targets === ALL_LINEAR) return paths.filter((path) => !OUTPUT_HEADS.test(path));
  if (typeof targets === "string") {
    const whole = new RegExp(`^(?:${targets})$`);
    const found = paths.filter((path) => whole.test(path));
    if (found.length === 0) throw nothingMatches(targets, paths);
    return found;
  }
  for (const target of targets)
    if (!paths.some((path) => endsWithPath(path, target))) throw nothingMatches(target, paths);
  return paths.filter((path) => targets.some((target) => endsWithPath(path, target)));
}

function endsWithPath(path: string, end: string): boolean {
  return path === end || path.endsWith(`.${end}`);
}

function patternValue(pattern: Readonly<Record<string, number>>, path: string): number | undefined {
  const key = Object.keys(pattern).find((name) => new RegExp(`(^|.*\\.)${name}$`).test(path));
  return key === undefined ? undefined : pattern[key];
}

function nothingMatches(target: string, paths: readonly string[]): FedloomError {
  const names = [...new Set(paths.map((path) => path.split(".").at(-1)!))];
  return new FedloomError(
    "F2113",
    `Cannot place LoRA at target "${target}": it matches no module; modules end with ${names.map((n) => `"${n}"`).join(", ")}`,
    { target, modules: names },
  );
}
