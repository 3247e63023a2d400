/** What a coordinator needs a model for: the first adapter of a run, and scores on its own held-out examples. */
import type { Adapter } from "../../adapters/adapter.ts";
import { assertFits } from "../../adapters/compatibility.ts";
import { readPeft } from "../../adapters/peft.ts";
import type { RunConfig } from "../../config/run.ts";
import { examplesOf } from "../../data/dataset.ts";
import type { Example } from "../../data/example.ts";
import { score } from "../../data/metrics/index.ts";
import { openDataset } from "../../data/open-dataset.ts";
import { withKept } from "../../data/prompts/index.ts";
import type { Trainer } from "../../training/trainer.ts";

/** Fresh from the run's seed, or the one that `adapter.from` names. */
export async function firstAdapter(trainer: Trainer, { adapter, seed }: RunConfig): Promise<Adapter> {
  if (adapter.from === undefined) {
    const { rankPattern = {}, alphaPattern = {}, modulesToSave = [] } = adapter;
    return trainer.createAdapter({ ...adapter, rankPattern, alphaPattern, modulesToSave }, String(seed));
  }
  const given = readPeft(adapter.from);
  // Whether its modules fit, the engine tells when it opens them; only the hash is known here.
  assertFits(
    { ...given, tensors: new Map() },
    { hash: trainer.baseHash, modules: [] },
    `adapter "${adapter.from}"`,
  );
  return { ...given, config: { ...given.config, base: trainer.baseHash } };
}

/** The examples that `evaluation.data` names, or the held-out ones of a fleet's data, as the run's prompt words them. */
export async function heldOutExamples({ evaluation, fleet, prompt }: RunConfig): Promise<readonly Example[]> {
  const data = evaluation?.data ?? fleet?.data;
  if (evaluation === undefined || data === undefined) return [];
  const examples = examplesOf(await openDataset(data), "held-out");
  return examples
    .slice(0, evaluation.limit)
    .map((example) => withKept(example, ["text", "image", "audio"], prompt));
}

/** The run's metrics of one adapter. */
export async function evaluateAdapter(
  trainer: Trainer,
  config: RunConfig,
  adapter: Adapter | undefined,
  examples: readonly Example[],
  signal?: AbortSignal,
): Promise<Record<string, number>> {
  const { metrics, maxNewTokens, options, batchSize } = config.evaluation!; // callers ask only where there is one
  const loss = metrics.includes("loss") || metrics.includes("perplexity");
  const answers = await trainer.predict(
    { adapter, maxNewTokens, batchSize, optionScore: options, loss },
    examples,
    signal === undefined ? {} : { signal },
  );
  return score(metrics, examples, answers);
}
