/** Predictions of a generating model: greedy text, or the likeliest of an example's options. */
import type { Example } from "../data/example.ts";
import { generate } from "./generate.ts";
import { likelihoods, type OptionScore, optionScores, type Predictor } from "./options.ts";
import { type TextRow, trainingRow } from "./text-rows.ts";
import type { Prediction, PredictTask } from "./trainer.ts";

/** Examples taken together, in batches: enough that rows of like length find each other. */
const BATCHES_TOGETHER = 8;

/** @returns one prediction an example, in their order */
export async function predictAll(
  predictor: Predictor,
  task: Omit<PredictTask, "adapter">,
  examples: readonly Example[],
): Promise<Prediction[]> {
  const predictions: Prediction[] = [];
  const together = predictor.batchSize * BATCHES_TOGETHER;
  for (let from = 0; from < examples.length; from += together) {
    const part = examples.slice(from, from + together);
    const choices = part.filter(({ options }) => options !== undefined);
    const by: OptionScore = task.optionScore ?? "mean";
    const scores = await optionScores(predictor, choices, by);
    const texts = await generate(
      predictor,
      part.filter(({ options }) => options === undefined),
      task.maxNewTokens,
    );
    const losses = task.loss === true ? await lossesOf(predictor, part) : undefined;
    for (const example of part) {
      const optionScores = scores.get(example);
      predictions.push({
        id: example.id,
        ...(optionScores === undefined
          ? { text: texts.get(example)! }
          : { text: example.options![optionScores.indexOf(Math.max(...optionScores))]!, optionScores }),
        ...losses?.get(example),
      });
    }
  }
  return predictions;
}

type Loss = Pick<Prediction, "loss" | "tokens">;

async function lossesOf(predictor: Predictor, examples: readonly Example[]): Promise<Map<Example, Loss>> {
  const rows = new Map<Example, TextRow>();
  for (const example of examples) {
    if (example.turns.at(-1)?.role === "assistant") {
      rows.set(example, await trainingRow(predictor.maker, example));
    }
  }
  const found = await likelihoods(predictor, [...rows.values()]);
  return new Map(
    [...rows].map(([example, row]) => {
      const { logLikelihood, tokens } = found.get(row)!;
      return [example, { loss: -logLikelihood / tokens, tokens }];
    }),
  );
}
