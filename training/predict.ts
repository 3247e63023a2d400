/** Predictions of a generating model: greedy text, or the likeliest of an example's options. */
import type { Example } from "../data/example.ts";
import { assertNotAborted, microBatches } from "./learner.ts";
import { likelihoods, type OptionScore, optionScores, type Predictor } from "./options.ts";
import { promptRow, type TextRow, trainingRow } from "./text-rows.ts";
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

interface Speaking {
  readonly example: Example;
  readonly length: number;
  row: TextRow;
  readonly said: number[];
}

/**
 * The likeliest next token, again and again, until an end token or the limit.
 *
 * Every token runs the whole prefix: the graph is planned for training, without a cache.
 */
async function generate(
  predictor: Predictor,
  examples: readonly Example[],
  maxNewTokens: number,
): Promise<Map<Example, string>> {
  const { learner, maker, parameters, batchSize, signal } = predictor;
  const all: Speaking[] = [];
  for (const example of examples) {
    const row = await promptRow(maker, example, maxNewTokens);
    all.push({ example, length: row.length, row, said: [] });
  }
  for (const batch of microBatches(all, batchSize)) {
    let going = batch;
    for (let step = 0; step < maxNewTokens && going.length > 0; step++) {
      assertNotAborted(signal, "Prediction");
      const rows = going.map(({ row }) => row);
      const places = rows.map(({ length }, row) => ({ row, at: length - 1 }));
      const logits = await learner.logits(rows, places, parameters);
      going = going.filter((one, i) => {
        const next = indexOfLargest(logits[i]!);
        if (maker.text.tokenizer.endIds.has(next)) return false;
        one.said.push(next);
        one.row = extended(one.row, next);
        return true;
      });
    }
  }
  return new Map(all.map(({ example, said }) => [example, maker.text.tokenizer.decode(said).trim()]));
}

function extended(row: TextRow, id: number): TextRow {
  const ids = new Int32Array(row.length + 1);
  ids.set(row.ids);
  ids[row.length] = id;
  return { ...row, ids, length: ids.length, answerFrom: ids.length };
}

function indexOfLargest(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}
