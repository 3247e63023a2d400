/** The work that a run's state calls for. Each item can be done twice without harm. */

import { durationMs } from "../../config/duration.ts";
import { quorumOf } from "../../config/run.ts";
import { todoRound } from "../round.ts";
import { type Run, type RunWork, remaining } from "./state.ts";

export function todo(run: Run): readonly RunWork[] {
  if (run.stopped !== undefined) return [];
  switch (run.phase) {
    case "preparing":
      return [{ kind: "prepare" }];
    case "choosing":
      return [choice(run)];
    case "collecting":
      return run.round === undefined ? [] : todoRound(run.round);
    case "aggregating":
      return [{ kind: "aggregate" }];
    case "evaluating":
      return todoEvaluation(run);
    case "publishing":
      return [{ kind: "publish" }];
    case "finishing":
      return [{ kind: "finish" }];
    case "finished":
      return [];
    default:
      throw run.phase satisfies never;
  }
}

function choice(run: Run): RunWork {
  const { perRound, overSelect, minClients, deadline } = run.config.cohort;
  const keep = run.round === undefined ? [] : remaining(run.round);
  const quorum = quorumOf(run.config);
  const first = run.previous === undefined && run.attempt === 0;
  return {
    kind: "choose",
    round: run.number,
    attempt: run.attempt,
    keep,
    count: Math.max(0, perRound + overSelect - keep.length),
    least: Math.max(0, (first ? Math.max(minClients ?? perRound, quorum) : quorum) - keep.length),
    withinMs: first ? undefined : durationMs(deadline),
  };
}

function todoEvaluation({ evaluation, config }: Run): readonly RunWork[] {
  const work: RunWork[] = evaluation?.own === "wanted" ? [{ kind: "evaluate" }] : [];
  const waiting = [...(evaluation?.clients ?? [])].filter(([, reply]) => reply === "waiting");
  if (waiting.length === 0) return work;
  work.push(...waiting.map(([client]) => ({ kind: "offer evaluation", client }) as const));
  work.push({ kind: "wake evaluation", afterMs: durationMs(config.cohort.deadline) });
  return work;
}
