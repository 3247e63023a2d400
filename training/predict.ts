/** Predictions of a generating model: greedy text, or the likeliest of an example's options. */
import type { TensorSet } from "../adapters/tensor.ts";
import type { Example } from "../data/example.ts";
import { assertNotAborted } from "./learner.ts";
import type { TextLearner } from "./text-learner.ts";
import { promptRow, type RowMaker, type TextRow, trainingRow } from "./text-rows.ts";
import type { Prediction, PredictTask } from "./trainer.ts";

export interface Predictor {
  readonly learner: TextLearner;
  readonly maker: RowMaker;
  readonly parameters: TensorSet;
}

/** @returns one prediction an example, in their order */
export async function predictAll(
  predictor: Predictor,
  task: Omit<PredictTask, "adapter">,
  examples: readonly Example[],
  signal: AbortSignal | undefined,
): Promise<Prediction[]> {
  const predictions: Prediction[] = [];
  for (let from = 0; from < examples.length; from += task.batchSize) {
    assertNotAborted(signal, "Prediction");
    const batch = examples.slice(from, from + task.batchSize);
    const open = batch.filter(({ options }) => options === undefined);
    const texts = await generate(predictor, open, task.maxNewTokens, signal);
    const losses = task.loss === true ? await lossesOf(predictor, batch) : new Map<string, Loss>();
    for (const example of batch) {
      const said =
        example.options === undefined
          ? { text: texts.get(example)! }
          : await choose(predictor, example, example.options, task.optionScore ?? "mean");
      predictions.push({ id: example.id, ...said, ...losses.get(example.id) });
    }
  }
  return predictions;
}

/** All options in one batch, each behind the same prompt. */
async function choose(
  { learner, maker, parameters }: Predictor,
  example: Example,
  options: readonly string[],
  by: "mean" | "sum",
): Promise<Pick<Prediction, "text"> & { optionScores: number[] }> {
  const rows: TextRow[] = [];
  for (const option of options) rows.push(await trainingRow(maker, example, option));
  const scores = await learner.logLikelihoods(rows, parameters);
  const optionScores = scores.map(({ logLikelihood, tokens }) =>
    by === "sum" ? logLikelihood : logLikelihood / Math.max(1, tokens),
  );
  const best = optionScores.indexOf(Math.max(...optionScores));
  return { text: options[best]!, optionScores };
}

type Loss = Pick<Prediction, "loss" | "tokens">;

async function lossesOf(
  { learner, maker, parameters }: Predictor,
  examples: readonly Example[],
): Promise<Map<string, Loss>> {
  const rows: TextRow[] = [];
  for (const example of examples) {
    if (example.turns.at(-1)?.role === "assistant") rows.push(await trainingRow(maker, example));
  }
  const scores = await learner.logLikelihoods(rows, parameters);
  return new Map(
    scores.map(({ logLikelihood, tokens }, i) => [rows[i]!.id, { loss: -logLikelihood / tokens, tokens }]),
  );
}

/**
 * The likeliest next token, again and again, until an end token or the limit.
 *
 * Every token runs the whole prefix: the graph is planned for training, without a cache.
 */
async function generate(
  { learner, maker, parameters }: Predictor,
  examples: readonly Example[],
  maxNewTokens: number,
  signal: AbortSignal | undefined,
): Promise<Map<Example, string>> {
  const { tokenizer } = maker.text;
  let going: { example: Example; row: TextRow; said: number[] }[] = [];
  for (const example of examples) {
    going.push({ example, row: await promptRow(maker, example, maxNewTokens), said: [] });
  }
  const all = going;
  for (let step = 0; step < maxNewTokens && going.length > 0; step++) {
    assertNotAborted(signal, "Prediction");
    const rows = going.map(({ row }) => row);
    const logits = await learner.logits(
      rows,
      rows.map((row, r) => ({ row: r, at: row.length - 1 })),
      parameters,
    );
    going = going.filter((one, i) => {
      const next = indexOfLargest(logits[i]!);
      if (tokenizer.endIds.has(next)) return false;
      one.said.push(next);
      one.row = extended(one.row, next);
      return true;
    });
  }
  return new Map(all.map(({ example, said }) => [example, tokenizer.decode(said).trim()]));
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
