/** What an event makes of a run. */

import { durationMs } from "../../config/duration.ts";
import { isAsync, quorumOf, type RunConfig } from "../../config/run.ts";
import { closeBuffer, emptyBuffer, isBuffer, resumed, withDrawn } from "../buffer.ts";
import type { Outcome } from "../records.ts";
import {
  applyRound,
  type BufferPolicy,
  type CohortPolicy,
  clients,
  contradiction,
  type Round,
  type RoundEvent,
} from "../round.ts";
import {
  bestOf,
  type Evaluation,
  type Kept,
  newest,
  openBuffer,
  type Phase,
  type Run,
  type RunEvent,
  remaining,
} from "./state.ts";

/** @throws FedloomError F4001 for an event that cannot follow from this state */
export function apply(run: Run, event: RunEvent): Run {
  switch (event.type) {
    case "prepared": {
      expect(run, event, "preparing");
      const { base, global, state, baseDelta, after = 0 } = event;
      const side = baseDelta === undefined ? {} : { baseDelta };
      const kept = [{ round: after, global, state, ...side, totalClients: 0 }];
      return { ...run, phase: "choosing", number: after + 1, base, global, state, baseDelta, kept };
    }
    case "population": {
      if (openBuffer(run) === undefined) expect(run, event, "choosing");
      const left = new Set(event.left);
      const stayed = [...run.population].filter((client) => !left.has(client));
      return { ...run, population: new Set([...stayed, ...event.joined]) };
    }
    case "round opened":
      expect(run, event, "choosing");
      return { ...run, phase: "collecting", round: openRound(run, event.cohort) };
    case "clients drawn":
      return draw(run, event);
    case "update late":
    case "update received":
    case "client failed":
    case "round failed":
      return inRound(run, event);
    case "round closed": {
      if (!isBuffer(run.round)) return { ...inRound(run, event), phase: "aggregating" };
      expect(run, event, "collecting");
      const { closed, next } = closeBuffer(run.round);
      return { ...run, round: closed, next, phase: "aggregating" };
    }
    case "aggregated": {
      expect(run, event, "aggregating");
      const evaluation = evaluationOf(run);
      return {
        ...run,
        outcome: event.outcome,
        evaluation,
        phase: evaluation === undefined ? "publishing" : "evaluating",
      };
    }
    case "evaluated":
      return withEvaluation(run, event, { own: event.metrics });
    case "client evaluated":
    case "client evaluation failed": {
      const reply = event.type === "client evaluated" ? event.reply : "failed";
      const replies = new Map(given(run.evaluation, event).clients).set(event.client, reply);
      return withEvaluation(run, event, { clients: replies });
    }
    case "evaluation over": {
      const replies = [...given(run.evaluation, event).clients].map(
        ([client, reply]) => [client, reply === "waiting" ? "failed" : reply] as const,
      );
      return withEvaluation(run, event, { clients: new Map(replies) });
    }
    case "published":
      expect(run, event, "publishing");
      return nextRound(run, given(run.outcome, event), given(run.round, event));
    case "stop requested":
      return { ...run, stopping: true };
    case "stopped": {
      const { code, reason } = event;
      return { ...run, stopping: false, stopped: code === undefined ? { reason } : { code, reason } };
    }
    case "resumed":
      return resume(run);
    case "finished":
      expect(run, event, "finishing");
      return { ...run, phase: "finished" };
    default:
      throw event satisfies never;
  }
}

function inRound(run: Run, event: RoundEvent): Run {
  if (run.next?.number === event.round) return { ...run, next: applyRound(run.next, event) };
  if (run.round?.number === event.round) return { ...run, round: applyRound(run.round, event) };
  if (run.previous?.number === event.round) return { ...run, previous: applyRound(run.previous, event) };
  throw contradiction(`"${event.type}" for round ${event.round} while in round ${run.number}`);
}

function draw(run: Run, event: RunEvent & { readonly type: "clients drawn" }): Run {
  const { version, first, clients } = event;
  const start = newest(run);
  if (version !== start.version || first !== run.draws + 1) {
    throw contradiction(
      `draw ${first} from the adapter of round ${version} follows draw ${run.draws}, round ${start.version}`,
    );
  }
  const draws = run.draws + clients.length;
  const open = openBuffer(run);
  if (open === undefined) expect(run, event, "choosing");
  const filled = withDrawn(
    open ?? emptyBuffer(run.number, bufferPolicyOf(run.config)),
    clients,
    first,
    start,
  );
  return run.next === undefined
    ? { ...run, draws, phase: "collecting", round: filled }
    : { ...run, draws, next: filled };
}

function bufferPolicyOf(config: RunConfig): BufferPolicy {
  if (!isAsync(config))
    throw contradiction(`run "${config.name}" is not asynchronous and draws single clients`);
  const { buffer, maxStaleness = Number.POSITIVE_INFINITY } = config.cohort;
  return { buffer, maxStaleness, rounds: config.rounds };
}

function openRound(run: Run, cohort: readonly string[]): Round {
  const members = cohort.map(
    (client) => [client, run.round?.members.get(client) ?? { status: "waiting" }] as const,
  );
  return {
    number: run.number,
    attempt: run.attempt,
    policy: policyOf(run.config),
    trainedFrom: given(run.global, "round opened").model.sha256,
    members: new Map(members),
    phase: "collecting",
  };
}

function policyOf(config: RunConfig): CohortPolicy {
  const { cohort } = config;
  if (cohort.mode === "async")
    throw contradiction(`asynchronous run "${config.name}" has a round with a cohort`);
  const { perRound, grace, deadline } = cohort;
  const policy = { wanted: perRound, quorum: quorumOf(config), deadlineMs: durationMs(deadline) };
  return grace === undefined ? policy : { ...policy, graceMs: durationMs(grace) };
}

function evaluationOf({ config, number, round }: Run): Evaluation | undefined {
  const wanted = config.evaluation;
  if (wanted === undefined || (number % wanted.every !== 0 && number !== config.rounds)) return undefined;
  const asked = wanted.onClients && round !== undefined ? clients(round, "received") : [];
  const own = wanted.data !== undefined || config.fleet !== undefined ? "wanted" : "none";
  if (own === "none" && asked.length === 0) return undefined;
  return { own, clients: new Map(asked.map((client) => [client, "waiting"])) };
}

function withEvaluation(run: Run, event: RunEvent, change: Partial<Evaluation>): Run {
  expect(run, event, "evaluating");
  const evaluation = { ...given(run.evaluation, event), ...change };
  const open = evaluation.own === "wanted" || [...evaluation.clients.values()].includes("waiting");
  return { ...run, evaluation, phase: open ? "evaluating" : "publishing" };
}

function nextRound(run: Run, outcome: Outcome, round: Round): Run {
  const { global, state, baseDelta = run.baseDelta } = outcome;
  const side = baseDelta === undefined ? {} : { baseDelta };
  const { number, config } = run;
  const { last, every, best: metric } = config.keep;
  const own = run.evaluation?.own;
  const score = metric !== undefined && typeof own === "object" ? own[metric] : undefined;
  const totalClients = run.population.size;
  const done = { round: number, global, state, ...side, totalClients, updates: round.members };
  const before = [...run.kept, { ...done, ...(score !== undefined && { score }) }];
  const best = bestOf({ kept: before, config });
  const kept = before.flatMap((entry, i): Kept[] => {
    if (entry.round > number - last) return [entry];
    const { updates: _, ...bare } = entry;
    return i === 0 || entry === best || (every !== undefined && entry.round % every === 0) ? [bare] : [];
  });
  const ended = number === config.rounds;
  return {
    ...run,
    phase: ended ? "finishing" : run.next === undefined ? "choosing" : "collecting",
    number: ended ? number : number + 1,
    attempt: 0,
    global,
    state,
    baseDelta,
    round: run.next,
    next: undefined,
    previous: round,
    outcome: undefined,
    evaluation: undefined,
    kept,
  };
}

/** A round under way goes on with a new attempt: members that failed make place for others. */
function resume(run: Run): Run {
  const going = { ...run, stopped: undefined, stopping: false };
  if (run.phase !== "collecting" || run.round === undefined) return going;
  if (isBuffer(run.round)) {
    const attempt = run.attempt + 1;
    return { ...going, attempt, round: resumed(run.round, attempt) };
  }
  const kept = remaining(run.round).map((client) => [client, run.round!.members.get(client)!] as const);
  return {
    ...going,
    phase: "choosing",
    attempt: run.attempt + 1,
    round: { ...run.round, members: new Map(kept) },
  };
}

function expect(run: Run, event: RunEvent, phase: Phase): void {
  if (run.phase !== phase) throw contradiction(`"${event.type}" in run "${run.id}" while ${run.phase}`);
}

function given<T>(value: T | undefined, event: RunEvent | string): T {
  if (value !== undefined) return value;
  throw contradiction(`"${typeof event === "string" ? event : event.type}" lacks what must come before it`);
}
