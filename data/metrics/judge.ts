/**
 * A language model as judge of free answers, behind an OpenAI-compatible endpoint. Off unless somebody calls it: it
 * sends questions and answers to another machine, costs money, and its scores move with the judge.
 *
 * The judge is asked whether an answer matches the truth or is good enough, and must end with "Correctness: 1" or
 * "Correctness: 0"; the score is the share of 1, over all and apart for open and closed questions.
 *
 * Source: FedMLLM, eval_medical_gpt.py, https://arxiv.org/abs/2411.14717 (the idea; the words are ours)
 */
import { FedloomError, messageOf } from "../../base/errors.ts";
import { MARK } from "../example.ts";
import { mean, type Scored, truthOf } from "./metric.ts";

export interface JudgeOptions {
  /** Up to and with the version: "http://127.0.0.1:8000/v1". */
  readonly endpoint: string;
  readonly model: string;
  /** Sent as a bearer token; never logged. */
  readonly apiKey?: string;
  /** Questions under way at once. */
  readonly concurrency?: number;
  /** One answer's time limit. */
  readonly timeoutMs?: number;
  /** How requests are made; recorded answers in tests. */
  readonly fetch?: typeof fetch;
}

export interface Judgement {
  readonly id: string;
  readonly correct: boolean;
  /** What the judge said, whole. */
  readonly reply: string;
}

export interface JudgeScores {
  readonly overall: number;
  /** Absent where no question is of that type. */
  readonly open?: number;
  readonly closed?: number;
  readonly judgements: readonly Judgement[];
}

/** @throws FedloomError F2008 where the endpoint fails or says nothing usable; nothing is scored then */
export async function judge(scored: readonly Scored[], options: JudgeOptions): Promise<JudgeScores> {
  const judgements: Judgement[] = new Array(scored.length);
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < scored.length; i = next++) judgements[i] = await judgeOne(scored[i]!, options);
  };
  await Promise.all(Array.from({ length: options.concurrency ?? 4 }, worker));
  const share = (type: string): number | undefined => {
    const own = judgements.filter(
      (_, i) => scored[i]!.example.fields?.answer_type?.trim().toUpperCase() === type,
    );
    return own.length === 0 ? undefined : mean(own.map((one) => Number(one.correct)));
  };
  const [open, closed] = [share("OPEN"), share("CLOSED")];
  return {
    overall: mean(judgements.map((one) => Number(one.correct))),
    ...(open === undefined ? {} : { open }),
    ...(closed === undefined ? {} : { closed }),
    judgements,
  };
}

export function judgePrompt({ example, answer }: Scored): string {
  const question = example.turns
    .filter((turn) => turn.role === "user")
    .map((turn) => turn.content.replaceAll(MARK.image, "").replaceAll(MARK.audio, "").trim())
    .join("\n");
  return [
    "Compare a predicted answer with the correct one.",
    `Question: ${question}`,
    `Correct answer: ${truthOf(example)}`,
    `Predicted answer: ${answer.text}`,
    'Does the predicted answer match the correct one, or is it good enough? Reply with a last line "Correctness: 1" if so, "Correctness: 0" if not.',
  ].join("\n");
}

async function judgeOne(one: Scored, options: JudgeOptions): Promise<Judgement> {
  const { id } = one.example;
  const reply = await ask(judgePrompt(one), id, options);
  const verdict = /Correctness:\D*([01])(?!\d)/.exec(reply)?.[1];
  if (verdict === undefined) {
    throw new FedloomError(
      "F2008",
      `Cannot judge example "${id}": the reply must hold "Correctness: 1" or "Correctness: 0"`,
      { id },
    );
  }
  return { id, correct: verdict === "1", reply };
}

async function ask(prompt: string, id: string, options: JudgeOptions): Promise<string> {
  const { endpoint, model, apiKey, timeoutMs = 60_000 } = options;
  const url = `${endpoint.replace(/\/$/, "")}/chat/completions`;
  let body: unknown;
  try {
    const response = await (options.fetch ?? fetch)(url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
      },
      body: JSON.stringify({ model, temperature: 0, messages: [{ role: "user", content: prompt }] }),
      signal: AbortSignal.timeout(timeoutMs),
    });
    if (!response.ok) throw new Error(`it answered ${response.status} ${response.statusText}`);
    body = await response.json();
  } catch (cause) {
    throw new FedloomError(
      "F2008",
      `Cannot judge example "${id}" at ${endpoint}: ${messageOf(cause)}`,
      { id, endpoint },
      { cause },
    );
  }
  // The shape is checked step by step; anything else than text at the end is refused.
  const content = (body as { choices?: { message?: { content?: unknown } }[] } | null)?.choices?.[0]?.message
    ?.content;
  if (typeof content === "string") return content;
  throw new FedloomError(
    "F2008",
    `Cannot judge example "${id}" at ${endpoint}: the reply holds no choices[0].message.content`,
    { id, endpoint },
  );
}
