import { expect, test } from "vitest";
import type { Failure } from "../../server/records.ts";
import {
  applyRound,
  type CohortPolicy,
  decideRound,
  type Member,
  type Round,
  type RoundCommand,
  type RoundEvent,
  todoRound,
} from "../../server/round.ts";
import { follow, listOf, type Machine, updateOf, words } from "./transcript.ts";

function commandOf(line: string): RoundCommand {
  const { verb, rest, options } = words(line);
  const client = rest[0] ?? "";
  if (verb === "update") {
    return {
      type: "update",
      client,
      trainedFrom: options.from ?? "g0",
      update: updateOf(options.sha ?? "aa"),
    };
  }
  if (verb === "fail") {
    const failure = {
      phase: options.phase ?? "train",
      code: options.code ?? "F2104",
      message: "out of memory",
    };
    return { type: "fail", client, failure };
  }
  if (verb === "deadline") return { type: "deadline over" };
  if (verb === "grace") return { type: "grace over" };
  throw new TypeError(`No command: ${line}`);
}

function memberText(client: string, member: Member): string {
  if (member.status === "received") return `${client}:${member.update.adapter.model.sha256}`;
  const late = "late" in member && member.late !== undefined ? `:late ${member.late}` : "";
  if (member.status === "failed") return `${client}:${member.failure.code}${late}`;
  return `${client}${late}`;
}

const machine: Machine<Round<CohortPolicy>, RoundEvent> = {
  start(line) {
    const { options } = words(line);
    const cohort = listOf(options.cohort);
    return {
      number: Number(options.round),
      attempt: 0,
      policy: {
        wanted: Number(options.wanted ?? cohort.length),
        quorum: Number(options.quorum),
        deadlineMs: 600_000,
        ...(options.grace !== undefined && { graceMs: Number(options.grace) * 1000 }),
      },
      trainedFrom: "g0",
      members: new Map(cohort.map((client) => [client, { status: "waiting" }])),
      phase: "collecting",
    };
  },
  decide: (round, line) => decideRound(round, commandOf(line)),
  apply: applyRound,
  show(round) {
    const groups = (["waiting", "received", "failed", "left out"] as const).flatMap((status) => {
      const members = [...round.members].filter(([, member]) => member.status === status);
      return members.length === 0
        ? []
        : [`${status}=(${members.map(([c, m]) => memberText(c, m)).join(",")})`];
    });
    const work = todoRound(round).map((item) =>
      item.kind === "offer" ? `offer ${item.client}` : `${item.over} in ${item.afterMs / 1000}s`,
    );
    return `${[round.phase, ...groups].join(" ")}; todo: ${work.join(", ") || "nothing"}`;
  },
};

test("a round closes when every member answered", () => {
  follow(
    machine,
    `
    open round=3 cohort=(c1,c4) quorum=2
    ----
    collecting waiting=(c1,c4); todo: offer c1, offer c4, deadline in 600s

    update c1 sha=aa
    ----
    collecting waiting=(c4) received=(c1:aa); todo: offer c4, deadline in 600s

    crash
    ----
    collecting waiting=(c4) received=(c1:aa); todo: offer c4, deadline in 600s

    update c4 sha=bb
    ----
    closed received=(c1:aa,c4:bb); todo: nothing
    `,
  );
});

test("an update counts once; a second one for the same round is refused", () => {
  follow(
    machine,
    `
    open round=1 cohort=(c1,c2) quorum=1
    ----
    collecting waiting=(c1,c2); todo: offer c1, offer c2, deadline in 600s

    update c1 sha=aa
    ----
    collecting waiting=(c2) received=(c1:aa); todo: offer c2, deadline in 600s

    update c1 sha=aa
    ----
    nothing new: collecting waiting=(c2) received=(c1:aa); todo: offer c2, deadline in 600s

    update c1 sha=bb
    ----
    refused F4013: Cannot use the update bb of client "c1" in round 1: update aa was accepted before

    fail c1
    ----
    nothing new: collecting waiting=(c2) received=(c1:aa); todo: offer c2, deadline in 600s
    `,
  );
});

test("an update from another adapter or from no member is refused by name", () => {
  follow(
    machine,
    `
    open round=7 cohort=(c1) quorum=1
    ----
    collecting waiting=(c1); todo: offer c1, deadline in 600s

    update c1 from=g9
    ----
    refused F4012: Cannot use the update of client "c1" in round 7: it must be trained from adapter g0, got one from g9

    update c9
    ----
    refused F4011: Cannot take anything for round 7 from client "c9": it is not in the round's cohort
    `,
  );
});

test("a member that fails does not hold the round up, and is named with its reason", () => {
  follow(
    machine,
    `
    open round=1 cohort=(c1,c2,c3) quorum=2
    ----
    collecting waiting=(c1,c2,c3); todo: offer c1, offer c2, offer c3, deadline in 600s

    fail c2 code=F2104
    ----
    collecting waiting=(c1,c3) failed=(c2:F2104); todo: offer c1, offer c3, deadline in 600s

    update c1 sha=aa
    ----
    collecting waiting=(c3) received=(c1:aa) failed=(c2:F2104); todo: offer c3, deadline in 600s

    update c3 sha=bb
    ----
    closed received=(c1:aa,c3:bb) failed=(c2:F2104); todo: nothing
    `,
  );
});

test("the deadline closes a round that has its quorum; who comes later is noted", () => {
  follow(
    machine,
    `
    open round=1 cohort=(c1,c2) quorum=1
    ----
    collecting waiting=(c1,c2); todo: offer c1, offer c2, deadline in 600s

    update c1 sha=aa
    ----
    collecting waiting=(c2) received=(c1:aa); todo: offer c2, deadline in 600s

    deadline
    ----
    closed received=(c1:aa) failed=(c2:F4010); todo: nothing

    update c2 sha=bb
    ----
    closed received=(c1:aa) failed=(c2:F4010:late bb); todo: nothing

    update c2 sha=bb
    ----
    nothing new: closed received=(c1:aa) failed=(c2:F4010:late bb); todo: nothing

    deadline
    ----
    nothing new: closed received=(c1:aa) failed=(c2:F4010:late bb); todo: nothing
    `,
  );
});

test("over-selection: the first updates that are wanted close the round, the rest is left out", () => {
  follow(
    machine,
    `
    open round=1 cohort=(c1,c2,c3) wanted=2 quorum=1
    ----
    collecting waiting=(c1,c2,c3); todo: offer c1, offer c2, offer c3, deadline in 600s

    update c3 sha=cc
    ----
    collecting waiting=(c1,c2) received=(c3:cc); todo: offer c1, offer c2, deadline in 600s

    update c1 sha=aa
    ----
    closed received=(c1:aa,c3:cc) left out=(c2); todo: nothing

    update c2 sha=bb
    ----
    closed received=(c1:aa,c3:cc) left out=(c2:late bb); todo: nothing
    `,
  );
});

test("grace runs from the quorum on", () => {
  follow(
    machine,
    `
    open round=1 cohort=(c1,c2,c3) quorum=2 grace=30
    ----
    collecting waiting=(c1,c2,c3); todo: offer c1, offer c2, offer c3, deadline in 600s

    update c1 sha=aa
    ----
    collecting waiting=(c2,c3) received=(c1:aa); todo: offer c2, offer c3, deadline in 600s

    grace
    ----
    nothing new: collecting waiting=(c2,c3) received=(c1:aa); todo: offer c2, offer c3, deadline in 600s

    update c2 sha=bb
    ----
    collecting waiting=(c3) received=(c1:aa,c2:bb); todo: offer c3, grace in 30s, deadline in 600s

    grace
    ----
    closed received=(c1:aa,c2:bb) left out=(c3); todo: nothing
    `,
  );
});

test("without its quorum a round fails, but only when everybody answered", () => {
  follow(
    machine,
    `
    open round=1 cohort=(c1,c2) quorum=2
    ----
    collecting waiting=(c1,c2); todo: offer c1, offer c2, deadline in 600s

    fail c1
    ----
    collecting waiting=(c2) failed=(c1:F2104); todo: offer c2, deadline in 600s

    update c2 sha=bb
    ----
    failed received=(c2:bb) failed=(c1:F2104); todo: nothing
    `,
  );
});

test("a failed round tells the reason of most failures", () => {
  const round = machine.start("open round=4 cohort=(c1,c2,c3) quorum=1");
  const after = ["fail c1 code=F5101", "fail c2 code=F2104"].reduce(
    (state, line) => machine.decide(state, line).reduce(applyRound, state),
    round,
  );
  const end = machine.decide(after, "fail c3 code=F2104").at(-1);
  expect(end).toEqual({
    type: "round failed",
    round: 4,
    code: "F4008",
    message:
      'Cannot close round 4: at least 1 update is wanted, got 0 of 3; client "c2" failed in train: out of memory (F2104), and 1 more for the same reason',
  });
});

test("log lines that a client shared stay with its failure, the reason of the round is one line", () => {
  const round = machine.start("open round=4 cohort=(c1) quorum=1");
  const failure: Failure = {
    phase: "train",
    code: "F2104",
    message: "out of memory\ninfo: step 1\ninfo: step 2",
  };
  const events = decideRound(round, { type: "fail", client: "c1", failure });
  expect(events[0]).toMatchObject({ type: "client failed", failure });
  expect(events[1]).toMatchObject({
    type: "round failed",
    message:
      'Cannot close round 4: at least 1 update is wanted, got 0 of 1; client "c1" failed in train: out of memory (F2104)',
  });
});

test("an event that cannot follow is a journal that contradicts itself", () => {
  const round = machine.start("open round=1 cohort=(c1) quorum=1");
  const received: RoundEvent = { type: "update received", round: 1, client: "c1", update: updateOf("aa") };
  expect(() => applyRound(applyRound(round, received), received)).toThrow(
    /^Cannot read the journal: client "c1" of round 1 is received, not waiting$/,
  );
});
