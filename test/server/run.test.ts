import { expect, test } from "vitest";
import { apply } from "../../server/run/apply.ts";
import { decide } from "../../server/run/decide.ts";
import { newRun, type Run, type RunCommand, type RunEvent, type RunWork } from "../../server/run/state.ts";
import { todo } from "../../server/run/todo.ts";
import { config } from "./setting.ts";
import { follow, listOf, type Machine, updateOf, words } from "./transcript.ts";

const blob = (sha256: string) => ({ sha256, size: 1 });
const adapter = (sha256: string) => ({ config: blob("cc"), model: blob(sha256) });

function commandOf(run: Run, line: string): RunCommand {
  const { verb, rest, options } = words(line);
  const [client = ""] = rest;
  const round = Number(options.round ?? run.number);
  switch (verb) {
    case "prepared":
      return { type: "prepared", base: "base", global: adapter("g0"), state: blob("s0") };
    case "choose":
      return {
        type: "choose",
        round,
        attempt: run.attempt,
        population: listOf(options.of),
        chosen: listOf(options.chosen),
      };
    case "update": {
      const trainedFrom = options.from ?? run.global?.model.sha256 ?? "";
      return {
        type: "round",
        round,
        command: { type: "update", client, trainedFrom, update: updateOf(options.sha ?? "aa") },
      };
    }
    case "fail": {
      const failure = { phase: "train", code: "F2104", message: "out of memory" };
      return { type: "round", round, command: { type: "fail", client, failure } };
    }
    case "deadline": {
      const attempt = Number(options.attempt ?? run.attempt);
      return { type: "round", round, attempt, command: { type: "deadline over" } };
    }
    case "aggregated":
      return {
        type: "aggregated",
        round,
        outcome: { global: adapter(`g${round}`), state: blob(`s${round}`), report: {} },
      };
    case "evaluated":
      return { type: "evaluated", round, metrics: { auc: 0.5 } };
    case "published":
      return { type: "published", round };
    case "finished":
      return { type: "finished" };
    case "broke":
      return { type: "work failed", code: "F4005", message: "blob is damaged" };
    case "stop":
      return { type: "stop", now: client === "now" };
    case "resume":
      return { type: "resume" };
    default:
      throw new TypeError(`No command: ${line}`);
  }
}

function workText(work: RunWork): string {
  switch (work.kind) {
    case "choose": {
      const keep = work.keep.length === 0 ? "" : ` beside (${work.keep.join(",")})`;
      return `choose ${work.count} when ${work.least} are there${keep}`;
    }
    case "offer":
      return `offer ${work.client}`;
    case "wake":
      return work.over;
    default:
      return work.kind;
  }
}

const machine: Machine<Run, RunEvent> = {
  start(line) {
    const { options } = words(line);
    return newRun(
      "r1",
      config({
        rounds: Number(options.rounds ?? 2),
        cohort: { perRound: Number(options.perRound ?? 2), quorum: Number(options.quorum ?? 1) },
        keep: { last: 1 },
        ...(options.evaluate !== undefined && {
          evaluation: { data: "held-out", every: Number(options.evaluate) },
        }),
      }),
    );
  },
  decide: (run, line) => decide(run, commandOf(run, line)),
  apply,
  show(run) {
    const members = [...(run.round?.members ?? [])].map(([client, { status }]) => `${client} ${status}`);
    const parts = [
      `round ${run.number}${run.attempt > 0 ? `, attempt ${run.attempt}` : ""}: ${run.phase}`,
      ...(members.length > 0 ? [`(${members.join(", ")})`] : []),
      ...(run.global === undefined ? [] : [`on ${run.global.model.sha256}`]),
      ...(run.stopping ? ["stopping"] : []),
      ...(run.stopped === undefined ? [] : [`stopped: ${run.stopped.reason}`]),
    ];
    return `${parts.join(" ")}; todo: ${todo(run).map(workText).join(", ") || "nothing"}`;
  },
};

test("a run goes from its first adapter to its last, and a crash anywhere changes nothing", () => {
  follow(
    machine,
    `
    submit rounds=2 evaluate=2
    ----
    round 1: preparing; todo: prepare

    prepared
    ----
    round 1: choosing on g0; todo: choose 2 when 2 are there

    prepared
    ----
    nothing new: round 1: choosing on g0; todo: choose 2 when 2 are there

    choose of=(c1,c2,c3) chosen=(c1,c3)
    ----
    round 1: collecting (c1 waiting, c3 waiting) on g0; todo: offer c1, offer c3, deadline

    update c3 sha=bb
    ----
    round 1: collecting (c1 waiting, c3 received) on g0; todo: offer c1, deadline

    crash
    ----
    round 1: collecting (c1 waiting, c3 received) on g0; todo: offer c1, deadline

    update c1 sha=aa
    ----
    round 1: aggregating (c1 received, c3 received) on g0; todo: aggregate

    crash
    ----
    round 1: aggregating (c1 received, c3 received) on g0; todo: aggregate

    aggregated
    ----
    round 1: publishing (c1 received, c3 received) on g0; todo: publish

    published
    ----
    round 2: choosing on g1; todo: choose 2 when 1 are there

    aggregated round=1
    ----
    nothing new: round 2: choosing on g1; todo: choose 2 when 1 are there

    choose of=(c1,c2) chosen=(c1,c2)
    ----
    round 2: collecting (c1 waiting, c2 waiting) on g1; todo: offer c1, offer c2, deadline

    update c1
    ----
    round 2: collecting (c1 received, c2 waiting) on g1; todo: offer c2, deadline

    update c2
    ----
    round 2: aggregating (c1 received, c2 received) on g1; todo: aggregate

    aggregated
    ----
    round 2: evaluating (c1 received, c2 received) on g1; todo: evaluate

    evaluated
    ----
    round 2: publishing (c1 received, c2 received) on g1; todo: publish

    published
    ----
    round 2: finishing on g2; todo: finish

    crash
    ----
    round 2: finishing on g2; todo: finish

    finished
    ----
    round 2: finished on g2; todo: nothing

    stop now
    ----
    refused F4007: Cannot stop run "r1": it is finished
    `,
  );
});

const OPEN = `
    submit rounds=3 perRound=3 quorum=2
    ----
    round 1: preparing; todo: prepare

    prepared
    ----
    round 1: choosing on g0; todo: choose 3 when 3 are there

    choose of=(c1,c2,c3,c4) chosen=(c1,c2,c3)
    ----
    round 1: collecting (c1 waiting, c2 waiting, c3 waiting) on g0; todo: offer c1, offer c2, offer c3, deadline

    update c1
    ----
    round 1: collecting (c1 received, c2 waiting, c3 waiting) on g0; todo: offer c2, offer c3, deadline
`;

test("a round without its quorum stops the run with the reason; resumed, finished work stays and others fill the places", () => {
  follow(
    machine,
    `${OPEN}
    fail c2
    ----
    round 1: collecting (c1 received, c2 failed, c3 waiting) on g0; todo: offer c3, deadline

    fail c3
    ----
    round 1: collecting (c1 received, c2 failed, c3 failed) on g0 stopped: Cannot close round 1: at least 2 updates are wanted, got 1 of 3; client "c2" failed in train: out of memory (F2104), and 1 more for the same reason; todo: nothing

    resume
    ----
    round 1, attempt 1: choosing (c1 received) on g0; todo: choose 2 when 1 are there beside (c1)

    choose of=(c1,c3,c4) chosen=(c3,c4)
    ----
    round 1, attempt 1: collecting (c1 received, c3 waiting, c4 waiting) on g0; todo: offer c3, offer c4, deadline

    deadline attempt=0
    ----
    nothing new: round 1, attempt 1: collecting (c1 received, c3 waiting, c4 waiting) on g0; todo: offer c3, offer c4, deadline

    crash
    ----
    round 1, attempt 1: collecting (c1 received, c3 waiting, c4 waiting) on g0; todo: offer c3, offer c4, deadline

    update c4
    ----
    round 1, attempt 1: collecting (c1 received, c3 waiting, c4 received) on g0; todo: offer c3, deadline

    deadline
    ----
    round 1, attempt 1: aggregating (c1 received, c3 failed, c4 received) on g0; todo: aggregate
    `,
  );
});

test("stopped now, a run drops nothing: an update that was on its way is kept for the resumed round", () => {
  follow(
    machine,
    `${OPEN}
    stop now
    ----
    round 1: collecting (c1 received, c2 waiting, c3 waiting) on g0 stopped: stopped, as asked; todo: nothing

    update c2 sha=bb
    ----
    round 1: collecting (c1 received, c2 received, c3 waiting) on g0 stopped: stopped, as asked; todo: nothing

    stop now
    ----
    nothing new: round 1: collecting (c1 received, c2 received, c3 waiting) on g0 stopped: stopped, as asked; todo: nothing

    resume
    ----
    round 1, attempt 1: choosing (c1 received, c2 received, c3 waiting) on g0; todo: choose 0 when 0 are there beside (c1,c2,c3)

    choose of=(c1,c2,c3) chosen=()
    ----
    round 1, attempt 1: collecting (c1 received, c2 received, c3 waiting) on g0; todo: offer c3, deadline
    `,
  );
});

test("stopped after the round, a run finishes the round first", () => {
  follow(
    machine,
    `${OPEN}
    stop
    ----
    round 1: collecting (c1 received, c2 waiting, c3 waiting) on g0 stopping; todo: offer c2, offer c3, deadline

    update c2
    ----
    round 1: collecting (c1 received, c2 received, c3 waiting) on g0 stopping; todo: offer c3, deadline

    update c3
    ----
    round 1: aggregating (c1 received, c2 received, c3 received) on g0 stopping; todo: aggregate

    aggregated
    ----
    round 1: publishing (c1 received, c2 received, c3 received) on g0 stopping; todo: publish

    published
    ----
    round 2: choosing on g1 stopped: stopped after the round, as asked; todo: nothing

    resume
    ----
    round 2: choosing on g1; todo: choose 3 when 2 are there
    `,
  );
});

test("the coordinator's own failures stop the run, and resuming tries again", () => {
  follow(
    machine,
    `
    submit rounds=1 perRound=1
    ----
    round 1: preparing; todo: prepare

    broke
    ----
    round 1: preparing stopped: blob is damaged; todo: nothing

    prepared
    ----
    nothing new: round 1: preparing stopped: blob is damaged; todo: nothing

    resume
    ----
    round 1: preparing; todo: prepare
    `,
  );
});

test("results of rounds long past are refused with the current one", () => {
  follow(
    machine,
    `${OPEN}
    update c1 round=9
    ----
    refused F4011: Cannot take anything for round 9 of run "r1": the run is in round 1
    `,
  );
});

test("an event out of its phase is a journal that contradicts itself", () => {
  const run = machine.start("submit");
  expect(() => apply(run, { type: "finished" })).toThrow(
    /^Cannot read the journal: "finished" in run "r1" while preparing$/,
  );
});
