/**
 * The likelihood of an example's options. Three ways to score them:
 *
 *   mean   log-likelihood per token of each option, its end token included
 *   sum    log-likelihood of the whole option
 *   next   log-likelihood of the first token in which the options differ, after what they share; one row an
 *          example instead of one an option. Where two options have the same token there, or one has none, that
 *          example is scored by "mean".
 */
import type { TensorSet } from "../adapters/tensor.ts";
import type { Example } from "../data/example.ts";
import { assertNotAborted, microBatches } from "./learner.ts";
import type { Decoding } from "./onnx/decoding.ts";
import { logSoftmaxAt } from "./softmax.ts";
import type { TextLearner } from "./text-learner.ts";
import { type RowMaker, type TextRow, trainingRow } from "./text-rows.ts";

export type OptionScore = "mean" | "sum" | "next";

export interface Predictor {
  readonly learner: TextLearner;
  readonly maker: RowMaker;
  readonly parameters: TensorSet;
  /** Rows that run at a time. */
  readonly batchSize: number;
  readonly signal: AbortSignal | undefined;
  /** The decoder with its cache, opened when first asked for; undefined where the graph has none. */
  decoding(): Promise<Decoding | undefined>;
}

/** Log-likelihood and number of the answer's tokens, by row. */
export type Likelihoods = ReadonlyMap<TextRow, { readonly logLikelihood: number; readonly tokens: number }>;

/** Scores of each example's options, in the example's order. */
export async function optionScores(
  predictor: Predictor,
  examples: readonly Example[],
  by: OptionScore,
): Promise<Map<Example, number[]>> {
  const choices: { example: Example; rows: TextRow[]; shared: number | undefined }[] = [];
  for (const example of examples) {
    const rows: TextRow[] = [];
    for (const option of example.options!) rows.push(await trainingRow(predictor.maker, example, option));
    choices.push({ example, rows, shared: by === "next" ? sharedTokens(rows) : undefined });
  }
  const whole = await likelihoods(
    predictor,
    choices.flatMap(({ rows, shared }) => (shared === undefined ? rows : [])),
  );
  const next = await nextTokens(
    predictor,
    choices.flatMap(({ rows, shared }) => (shared === undefined ? [] : [{ rows, shared }])),
  );
  return new Map(
    choices.map(({ example, rows }) => [
      example,
      next.get(rows) ??
        rows.map((row) => {
          const { logLikelihood, tokens } = whole.get(row)!;
          return by === "sum" ? logLikelihood : logLikelihood / Math.max(1, tokens);
        }),
    ]),
  );
}

export async function likelihoods(
  { learner, parameters, batchSize, signal }: Predictor,
  rows: readonly TextRow[],
): Promise<Likelihoods> {
  const found = new Map<TextRow, { logLikelihood: number; tokens: number }>();
  for (const batch of microBatches(rows, batchSize)) {
    assertNotAborted(signal, "Prediction");
    const scores = await learner.logLikelihoods(batch, parameters);
    batch.forEach((row, i) => {
      found.set(row, scores[i]!);
    });
  }
  return found;
}

/** Tokens that all rows begin with; undefined where what follows does not tell the rows apart. */
function sharedTokens(rows: readonly TextRow[]): number | undefined {
  const [first] = rows;
  if (first === undefined) return undefined;
  const shortest = Math.min(...rows.map(({ length }) => length));
  let shared = 0;
  while (shared < shortest && rows.every(({ ids }) => ids[shared] === first.ids[shared])) shared++;
  const following = new Set(rows.map(({ ids }) => ids[shared]));
  return shared < shortest && following.size === rows.length ? shared : undefined;
}

type Fork = { readonly rows: readonly TextRow[]; readonly shared: number };

async function nextTokens(
  { learner, parameters, batchSize, signal }: Predictor,
  forks: readonly Fork[],
): Promise<Map<readonly TextRow[], number[]>> {
  const found = new Map<readonly TextRow[], number[]>();
  const heads = forks.map(({ rows, shared }) => ({ rows, ...headOf(rows[0]!, shared) }));
  for (const batch of microBatches(heads, batchSize)) {
    assertNotAborted(signal, "Prediction");
    const places = batch.map(({ length }, row) => ({ row, at: length - 1 }));
    const logits = await learner.logits(batch, places, parameters);
    batch.forEach(({ rows, length }, i) => {
      found.set(
        rows,
        rows.map(({ ids }) => logSoftmaxAt(logits[i]!, ids[length]!)),
      );
    });
  }
  return found;
}

function headOf(row: TextRow, length: number): TextRow {
  return { ...row, ids: row.ids.slice(0, length), length, answerFrom: length };
}
