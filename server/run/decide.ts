/** Which events follow from a command. */
import { FedloomError } from "../../base/errors.ts";
import { isAsync } from "../../config/run.ts";
import { decideBuffer, endOf, hasSeats, isBuffer } from "../buffer.ts";
import { type CohortPolicy, decideRound, type Round, type RoundEvent } from "../round.ts";
import { apply } from "./apply.ts";
import { newest, openBuffer, type Run, type RunCommand, type RunEvent, remaining, roundOf } from "./state.ts";

/** @throws FedloomError to refuse the command; returns [] when it is a repeat */
export function decide(run: Run, command: RunCommand): readonly RunEvent[] {
  switch (command.type) {
    case "stop":
      return decideStop(run, command.now);
    case "resume":
      if (run.stopped === undefined) return [];
      return [{ type: "resumed" }];
    case "round":
      return decideInRound(run, command);
    case "work failed":
      if (run.stopped !== undefined || run.phase === "finished") return [];
      return [{ type: "stopped", code: command.code, reason: command.message }];
    default:
      break;
  }
  if (run.stopped !== undefined) return [];
  switch (command.type) {
    case "prepared":
      return run.phase === "preparing" ? [command] : [];
    case "choose":
      return decideChoice(run, command);
    case "aggregated":
      if (run.phase !== "aggregating" || command.round !== run.number) return [];
      return [{ type: "aggregated", outcome: command.outcome }];
    case "evaluated":
      if (run.evaluation?.own !== "wanted" || command.round !== run.number) return [];
      return [
        {
          type: "evaluated",
          metrics: command.metrics,
          ...(command.dataFingerprint !== undefined && { dataFingerprint: command.dataFingerprint }),
        },
      ];
    case "client evaluated": {
      const { client, reply } = command;
      if (command.round !== run.number || run.evaluation?.clients.get(client) !== "waiting") return [];
      if ("code" in reply) return [{ type: "client evaluation failed", client, failure: reply }];
      return [{ type: "client evaluated", client, reply }];
    }
    case "evaluation over":
      return run.phase === "evaluating" && command.round === run.number ? [{ type: "evaluation over" }] : [];
    case "published": {
      if (run.phase !== "publishing" || command.round !== run.number) return [];
      const last = run.number === run.config.rounds;
      const stop = { type: "stopped", reason: "stopped after the round, as asked" } as const;
      const published = withEnd(run, [{ type: "published" }]);
      return run.stopping && !last && !hasFailed(published) ? [...published, stop] : published;
    }
    case "finished":
      return run.phase === "finishing" ? [{ type: "finished" }] : [];
    default:
      throw command satisfies never;
  }
}

function decideStop(run: Run, now: boolean): readonly RunEvent[] {
  if (run.phase === "finished") {
    throw new FedloomError("F4007", `Cannot stop run "${run.id}": it is finished`, { run: run.id });
  }
  if (run.stopped !== undefined) return [];
  // Between rounds there is no round to wait for.
  if (now || run.phase === "preparing" || run.phase === "choosing")
    return [{ type: "stopped", reason: "stopped, as asked" }];
  return run.stopping ? [] : [{ type: "stop requested" }];
}

function decideInRound(
  run: Run,
  { round, attempt, command }: RunCommand & { type: "round" },
): readonly RunEvent[] {
  const client = "client" in command ? command.client : undefined;
  const found = roundOf(run, client, round);
  if (found === undefined) {
    throw new FedloomError(
      "F4011",
      isAsync(run.config)
        ? `Cannot take anything for task ${round} of client "${client}" in run "${run.id}": it is not open`
        : `Cannot take anything for round ${round} of run "${run.id}": the run is in round ${run.number}`,
      { run: run.id, round, current: run.number },
    );
  }
  // A timer or a failure that belongs to an earlier attempt says nothing of this one.
  if (attempt !== undefined && attempt !== found.attempt) return [];
  if (run.stopped !== undefined && command.type !== "update") return [];
  return isBuffer(found)
    ? withEnd(run, decideBuffer(found, command, round))
    : withStop(decideRound(found as Round<CohortPolicy>, command));
}

/** A round that fails stops the run. */
function withStop(events: readonly RoundEvent[]): readonly RunEvent[] {
  const failed = events.find((event) => event.type === "round failed");
  if (failed === undefined) return events;
  return [...events, { type: "stopped", code: failed.code, reason: failed.message }];
}

/** The events, and the end of the buffer that is now open to be aggregated where they bring it. */
function withEnd(run: Run, events: readonly RunEvent[]): readonly RunEvent[] {
  const after = events.reduce(apply, run);
  if (events.length === 0 || after.phase !== "collecting" || !isBuffer(after.round)) return events;
  return [...events, ...withStop(endOf(after.round, after.population))];
}

function hasFailed(events: readonly RunEvent[]): boolean {
  return events.some(({ type }) => type === "round failed");
}

function decideChoice(run: Run, command: RunCommand & { type: "choose" }): readonly RunEvent[] {
  const { round, attempt, population, chosen } = command;
  const buffer = openBuffer(run);
  if (buffer === undefined ? run.phase !== "choosing" : !hasSeats(buffer)) return [];
  if (attempt !== run.attempt || round !== run.number) return [];
  if (isAsync(run.config) && command.draw !== run.draws + 1) return [];
  const joined = population.filter((client) => !run.population.has(client));
  const left = [...run.population].filter((client) => !population.includes(client));
  const opened = isAsync(run.config)
    ? drawn(run, chosen)
    : ({
        type: "round opened",
        round,
        attempt,
        cohort: [...(run.round === undefined ? [] : remaining(run.round)), ...chosen].sort(),
      } as const);
  return joined.length + left.length === 0 ? [opened] : [{ type: "population", joined, left }, opened];
}

function drawn(run: Run, chosen: readonly string[]): RunEvent {
  const round = openBuffer(run)?.number ?? run.number;
  return {
    type: "clients drawn",
    round,
    version: newest(run).version,
    first: run.draws + 1,
    clients: chosen,
  };
}
