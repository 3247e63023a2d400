/** The work that a run's state calls for. Each item can be done twice without harm. */

import { durationMs } from "../../config/duration.ts";
import { quorumOf } from "../../config/run.ts";
import { type Buffer, busyClients, hasSeats, isBuffer, todoBuffer } from "../buffer.ts";
import { type CohortPolicy, count, type Round, todoRound } from "../round.ts";
import { openBuffer, type Run, type RunWork, remaining } from "./state.ts";

export function todo(run: Run): readonly RunWork[] {
  if (run.stopped !== undefined) return [];
  const buffer = openBuffer(run);
  return buffer === undefined ? todoPhase(run) : [...todoClients(run, buffer), ...todoPhase(run)];
}

/** Of an asynchronous run, whatever else it is at. */
function todoClients(run: Run, buffer: Buffer): readonly RunWork[] {
  if (!hasSeats(buffer)) return [];
  const free = choice(run, buffer);
  return free.count > 0 ? [free, ...todoBuffer(buffer)] : todoBuffer(buffer);
}

function todoPhase(run: Run): readonly RunWork[] {
  switch (run.phase) {
    case "preparing":
      return [{ kind: "prepare" }];
    case "choosing":
      return [choice(run)];
    case "collecting":
      return run.round === undefined || isBuffer(run.round)
        ? []
        : todoRound(run.round as Round<CohortPolicy>);
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

type Choice = Extract<RunWork, { kind: "choose" }>;

function choice(run: Run, buffer?: Buffer): Choice {
  const { number: round, attempt } = run;
  const { cohort } = run.config;
  if (cohort.mode === "async") {
    const { concurrency, minClients = concurrency, deadline } = cohort;
    const atWork = buffer === undefined ? 0 : count(buffer, "waiting");
    const first = run.draws === 0;
    return {
      kind: "choose",
      round,
      attempt,
      draw: run.draws + 1,
      keep: buffer === undefined ? [] : busyClients(buffer),
      count: concurrency - atWork,
      least: first ? minClients : 1,
      withinMs: first || atWork > 0 ? undefined : durationMs(deadline),
    };
  }
  const { perRound, overSelect, minClients, deadline } = cohort;
  const keep = run.round === undefined ? [] : remaining(run.round);
  const quorum = quorumOf(run.config);
  const first = run.previous === undefined && run.attempt === 0;
  return {
    kind: "choose",
    round,
    attempt,
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
