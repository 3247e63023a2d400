/** What fedloom-nano can be taught in a minute: one trainer with all of a stand-in's data, with and without a modality. */
import { trainingOptions } from "../../config/training.ts";
import { type Example, MODALITIES, type Modality } from "../../data/example.ts";
import { withKept } from "../../data/prompts/index.ts";
import type { Trainer } from "../../training/trainer.ts";
import type { DatasetName } from "../fedmllm/scenario.ts";
import { openBenchmarkDataset } from "../replay/benchmark-data.ts";

export interface TuningTask {
  readonly dataset: DatasetName;
  readonly steps: number;
  readonly batch: number;
  readonly learningRate: number;
  readonly testLimit: number;
}

/** Enough steps that the two modalities together reach their best. */
export const TUNING_TASKS: readonly TuningTask[] = [
  { dataset: "hateful-memes", steps: 150, batch: 16, learningRate: 5e-3, testLimit: 400 },
  { dataset: "crisis-mmd", steps: 300, batch: 12, learningRate: 3e-3, testLimit: 400 },
  { dataset: "medical", steps: 200, batch: 16, learningRate: 5e-3, testLimit: 400 },
];

export const KEPT: readonly (readonly Modality[])[] = [["text", "image"], ["text"], ["image"]];

const ADAPTER = {
  rank: 8,
  alpha: 16,
  rslora: false,
  dropout: 0,
  targets: ["q_proj", "k_proj", "v_proj", "o_proj"],
  rankPattern: {},
  alphaPattern: {},
  modulesToSave: [],
};

export interface Tuned {
  readonly zeroShot: Readonly<Record<string, number>>;
  readonly after: Readonly<Record<string, number>>;
}

/**
 * Metrics in per cent, of the base model and of the adapter after the last step; training and test examples both
 * keep what `kept` names.
 *
 * @param data directory of stand-ins, as `fedloom data make` writes it
 */
export async function tune(
  task: TuningTask,
  kept: readonly Modality[],
  { trainer, data, seed }: { readonly trainer: Trainer; readonly data: string; readonly seed: string },
): Promise<Tuned> {
  const dataset = await openBenchmarkDataset(task.dataset, data, task.testLimit);
  const having = (examples: readonly Example[]): readonly Example[] =>
    kept.length === MODALITIES.length - 1
      ? examples
      : examples.map((example) => withKept(example, kept)).filter(isAsked);
  const test = having(dataset.test("standard"));
  const evaluate = async (adapter: Parameters<Trainer["predict"]>[0]["adapter"]) => {
    const how = { adapter, maxNewTokens: 8, batchSize: 32, optionScore: "next" } as const;
    return dataset.score(test, await trainer.predict(how, test, {}));
  };
  const options = trainingOptions.parse({
    learning_rate: task.learningRate,
    lr_scheduler_type: "cosine",
    max_steps: task.steps,
    per_device_train_batch_size: task.batch,
  });
  const adapter = await trainer.createAdapter(ADAPTER, seed);
  const trained = await trainer.train({ adapter, options, seed }, having(dataset.train), {});
  return { zeroShot: await evaluate(undefined), after: await evaluate(trained.adapter) };
}

/** Of a text question nothing is left without its text. */
const isAsked = ({ turns, images }: Example): boolean =>
  images.length > 0 || turns.some(({ role, content }) => role === "user" && content.trim() !== "");
