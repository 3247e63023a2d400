import { type Metric, refuse, type Scored } from "./metric.ts";

/** Σ loss·tokens / Σ tokens: long answers weigh by their length, as in training. */
function meanLoss(name: string, scored: readonly Scored[]): number {
  let sum = 0;
  let tokens = 0;
  for (const { answer } of scored) {
    if (answer.loss === undefined) refuse(name, "the trainer gives no loss of the true answers");
    sum += answer.loss * (answer.tokens ?? 1);
    tokens += answer.tokens ?? 1;
  }
  return sum / tokens;
}

export const loss: Metric = {
  name: "loss",
  meaning: "mean negative log-likelihood per token of the true answers, in nats",
  better: "lower",
  compute: (scored) => meanLoss("loss", scored),
};

export const perplexity: Metric = {
  name: "perplexity",
  meaning: "exp(loss): how many tokens the model wavers between",
  better: "lower",
  compute: (scored) => Math.exp(meanLoss("perplexity", scored)),
};
