/** The machine of an asynchronous run: who is drawn, which buffer an update lies in, and how stale it is. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { failingClients } from "../../server/buffer.ts";
import { count, keyOf, updatesOf } from "../../server/round.ts";
import { apply } from "../../server/run/apply.ts";
import { decide } from "../../server/run/decide.ts";
import {
  assignmentOf,
  newRun,
  openBuffer,
  type Run,
  type RunCommand,
  type RunEvent,
} from "../../server/run/state.ts";
import { todo } from "../../server/run/todo.ts";
import { hashesOf } from "../../server/sweep.ts";
import { config } from "./setting.ts";
import { updateOf } from "./transcript.ts";

const blob = (sha256: string) => ({ sha256, size: 1 });
const adapter = (sha256: string) => ({ config: blob("cc"), model: blob(sha256) });

interface Shape {
  readonly concurrency: number;
  readonly buffer: number;
  readonly rounds?: number;
  readonly maxStaleness?: number;
}

/** A run with its journal: what is told to it is decided, applied and kept. */
class Told {
  run: Run;
  readonly first: Run;
  readonly events: RunEvent[] = [];

  constructor({ rounds = 3, ...shape }: Shape) {
    this.first = newRun("r1", config({ rounds, cohort: { mode: "async", ...shape }, keep: { last: 2 } }));
    this.run = this.first;
    this.tell({ type: "prepared", base: "base", global: adapter("g0"), state: blob("s0") });
  }

  tell(command: RunCommand): readonly RunEvent[] {
    const events = decide(this.run, command);
    this.run = events.reduce(apply, this.run);
    this.events.push(...events);
    return events;
  }

  /** Draws as the coordinator would, in order of names. */
  draw(...population: string[]): readonly RunEvent[] {
    const work = todo(this.run).find(({ kind }) => kind === "choose");
    if (work?.kind !== "choose") return [];
    const chosen = population.filter((client) => !work.keep.includes(client)).slice(0, work.count);
    if (chosen.length < Math.min(work.least, 1)) return [];
    const { round, attempt, draw } = work;
    return this.tell({
      type: "choose",
      round,
      attempt,
      ...(draw !== undefined && { draw }),
      population,
      chosen,
    });
  }

  update(client: string, draw: number, sha256 = `u${draw}`): readonly RunEvent[] {
    const trainedFrom = assignmentOf(this.run, client, draw)?.start.global.model.sha256 ?? "";
    const command = { type: "update", client, trainedFrom, update: updateOf(sha256) } as const;
    return this.tell({ type: "round", round: draw, command });
  }

  fail(client: string, draw: number): readonly RunEvent[] {
    const failure = { phase: "train", code: "F2104", message: "out of memory" };
    return this.tell({ type: "round", round: draw, command: { type: "fail", client, failure } });
  }

  aggregate(): void {
    const { number: round } = this.run;
    const outcome = { global: adapter(`g${round}`), state: blob(`s${round}`), report: {} };
    this.tell({ type: "aggregated", round, outcome });
  }

  publish(): readonly RunEvent[] {
    return this.tell({ type: "published", round: this.run.number });
  }

  /** Who is at work, as draw:client. */
  get atWork(): string[] {
    return todo(this.run).flatMap((work) => (work.kind === "offer" ? [`${work.draw}:${work.client}`] : []));
  }
}

const types = (events: readonly RunEvent[]): string[] => events.map(({ type }) => type);

test("a client that answers makes place for another, a full buffer is aggregated, the next one fills meanwhile", () => {
  const told = new Told({ concurrency: 2, buffer: 2 });
  told.draw("a", "b", "c");
  expect(told.atWork).toEqual(["1:a", "2:b"]);
  expect(types(told.update("a", 1))).toEqual(["update received"]);
  told.draw("b", "c");
  expect(told.atWork).toEqual(["2:b", "3:c"]);
  expect(types(told.update("c", 3))).toEqual(["update received", "round closed"]);
  expect(told.run).toMatchObject({ phase: "aggregating", number: 1 });
  expect([...told.run.round!.members.keys()]).toEqual(["a#1", "c#3"]);
  // b is still at work, from the first adapter, and a begins from it again: nothing newer is there.
  told.draw("a", "b", "c");
  expect(told.atWork).toEqual(["2:b", "4:a"]);
  expect(assignmentOf(told.run, "a", 4)!.start.version).toBe(0);
  expect(types(told.update("b", 2))).toEqual(["update received"]);
  told.aggregate();
  told.draw("b", "c");
  // Handed out is what was aggregated, though it is not published yet.
  expect(assignmentOf(told.run, "b", 5)!.start).toMatchObject({ version: 1, global: adapter("g1") });
  told.publish();
  expect(told.run).toMatchObject({ phase: "collecting", number: 2 });
  expect(types(told.update("b", 5))).toEqual(["update received", "round closed"]);
  expect(updatesOf(told.run.round!.members).map(({ draw, start }) => [draw, start!.version])).toEqual([
    [2, 0],
    [5, 1],
  ]);
});

test("an update that arrives at a full buffer is counted into the one after it, which closes when its turn comes", () => {
  const told = new Told({ concurrency: 4, buffer: 1, maxStaleness: 2, rounds: 9 });
  told.draw("a", "b", "c", "d");
  told.update("a", 1);
  // Buffers 2 and 3; a fourth would be three rounds stale.
  expect(types(told.update("b", 2))).toEqual(["update received"]);
  expect(types(told.update("c", 3))).toEqual(["update received"]);
  expect(told.update("d", 4)).toEqual([
    { type: "update late", round: 2, client: "d", draw: 4, sha256: "u4", staleness: 3 },
  ]);
  told.aggregate();
  expect(types(told.publish())).toEqual(["published", "round closed"]);
  expect([...told.run.round!.members.keys()]).toEqual(["b#2", "d#4"]);
  told.aggregate();
  expect(types(told.publish())).toEqual(["published", "round closed"]);
  expect([...told.run.round!.members.keys()]).toEqual(["c#3"]);
});

test("what comes twice counts once, and another update for the same task is refused", () => {
  const told = new Told({ concurrency: 1, buffer: 2 });
  told.draw("a");
  told.update("a", 1);
  expect(told.update("a", 1)).toEqual([]);
  expect(() => told.update("a", 1, "other")).toThrow(/update u1 was accepted before/);
  expect(() => told.update("a", 7)).toThrow(
    'Cannot take anything for task 7 of client "a" in run "r1": it is not open',
  );
  const foreign = { type: "update", client: "a", trainedFrom: "g9", update: updateOf("u") } as const;
  told.draw("a");
  expect(() => told.tell({ type: "round", round: 2, command: foreign })).toThrow(
    'Cannot use the update of client "a" in round 1: it must be trained from adapter g0, got one from g9',
  );
});

test("a client that fails is replaced, and drawn again once an update has come", () => {
  const told = new Told({ concurrency: 2, buffer: 5 });
  told.draw("a", "b", "c");
  told.fail("a", 1);
  told.draw("a", "b", "c");
  expect(told.atWork).toEqual(["2:b", "3:c"]);
  told.update("b", 2);
  told.draw("a", "b", "c");
  expect(told.atWork).toEqual(["3:c", "4:a"]);
  // A result that comes after its client was given up is noted.
  expect(types(told.update("a", 1))).toEqual(["update late"]);
});

test("a run in which nobody can train stops with the reason, and goes on with those updates that came", () => {
  const told = new Told({ concurrency: 2, buffer: 2 });
  told.draw("a", "b");
  told.update("a", 1);
  told.draw("a", "b");
  told.fail("b", 2);
  expect(told.fail("a", 3).at(-1)).toEqual({
    type: "stopped",
    code: "F4008",
    reason:
      'Cannot close round 1: 2 updates are wanted, got 1; client "b" failed in train: out of memory (F2104), and 1 more for the same reason',
  });
  expect(todo(told.run)).toEqual([]);
  told.tell({ type: "resume" });
  told.draw("a", "b");
  expect(told.atWork).toEqual(["4:a", "5:b"]);
  expect(types(told.update("b", 5))).toEqual(["update received", "round closed"]);
});

test("the last step ends the run: what is under way then is left out", () => {
  const told = new Told({ concurrency: 3, buffer: 1, rounds: 1 });
  told.draw("a", "b", "c");
  told.update("b", 2);
  expect(told.run.next).toBeUndefined();
  expect(told.atWork).toEqual([]);
  expect(told.run.round!.members.get("a#1")).toMatchObject({ status: "left out" });
  expect(types(told.update("a", 1))).toEqual(["update late"]);
  told.aggregate();
  told.publish();
  expect(told.run.phase).toBe("finishing");
});

test("nobody trains for a buffer that the run does not have", () => {
  const told = new Told({ concurrency: 3, buffer: 1, rounds: 2 });
  told.draw("a", "b", "c");
  told.update("a", 1);
  told.update("b", 2);
  expect(told.run).toMatchObject({ phase: "aggregating", number: 1 });
  expect(told.draw("a", "b", "c")).toEqual([]);
  expect(told.atWork).toEqual([]);
  expect(told.update("c", 3)).toEqual([
    { type: "update late", round: 2, client: "c", draw: 3, sha256: "u3", staleness: 2 },
  ]);
  told.aggregate();
  told.publish();
  told.aggregate();
  told.publish();
  expect(told.run).toMatchObject({ phase: "finishing", number: 2 });
});

test("a stop waits for the round, and a buffer that is full by then is aggregated when the run goes on", () => {
  const told = new Told({ concurrency: 2, buffer: 1 });
  told.draw("a", "b");
  told.update("a", 1);
  told.tell({ type: "stop", now: false });
  told.update("b", 2);
  told.aggregate();
  expect(types(told.publish())).toEqual(["published", "round closed", "stopped"]);
  expect(todo(told.run)).toEqual([]);
  told.tell({ type: "resume" });
  expect(todo(told.run).map(({ kind }) => kind)).toEqual(["choose", "aggregate"]);
});

/** What can happen next, chosen by a number. */
const step = fc.record({
  what: fc.constantFrom(
    "draw",
    "draw",
    "update",
    "update",
    "update",
    "fail",
    "repeat",
    "aggregate",
    "publish",
  ),
  which: fc.nat(100),
});

test("whatever the order: never too many at work, each buffer exactly K, staleness as defined, nothing lost", () => {
  const shapes = fc.record({
    concurrency: fc.integer({ min: 1, max: 5 }),
    buffer: fc.integer({ min: 1, max: 4 }),
    rounds: fc.integer({ min: 1, max: 6 }),
    maxStaleness: fc.option(fc.nat(2), { nil: undefined }),
  });
  fc.assert(
    fc.property(
      shapes,
      fc.integer({ min: 1, max: 6 }),
      fc.array(step, { maxLength: 120 }),
      (shape, n, steps) => {
        const { maxStaleness, ...rest } = shape;
        const told = new Told(maxStaleness === undefined ? rest : { ...rest, maxStaleness });
        const names = Array.from({ length: n }, (_, i) => `c${i}`);
        const accepted: number[] = [];
        const aggregated: number[] = [];
        for (const { what, which } of steps) {
          const open = openBuffer(told.run);
          const waiting = [...(open?.members ?? [])].filter(([, { status }]) => status === "waiting");
          const [key = ""] = waiting[which % Math.max(1, waiting.length)] ?? [];
          const [client = "", draw] = key.split("#");
          if (what === "draw") told.draw(...names);
          else if (what === "aggregate" && told.run.phase === "aggregating") told.aggregate();
          else if (what === "publish" && told.run.phase === "publishing") told.publish();
          else if (key === "") continue;
          else if (what === "fail") told.fail(client, Number(draw));
          else if (what === "update" || what === "repeat") {
            const events = told.update(client, Number(draw));
            if (types(events).includes("update received")) accepted.push(Number(draw));
            if (what === "repeat") expect(told.update(client, Number(draw))).toEqual([]);
          }
          check(told, shape.concurrency, aggregated);
        }
        // Each accepted update is in exactly one buffer, in the order of arrival.
        const held = [told.run.round, told.run.next].flatMap((round) =>
          updatesOf(round?.members ?? new Map()),
        );
        const later = held.map(({ draw }) => draw!).filter((draw) => !aggregated.includes(draw));
        expect([...aggregated, ...later]).toEqual(accepted);
      },
    ),
    { numRuns: 400 },
  );
});

function check({ run, first, events }: Told, concurrency: number, aggregated: number[]): void {
  // The journal alone gives the same state.
  expect(events.reduce(apply, first)).toEqual(run);
  const open = openBuffer(run);
  if (open !== undefined) {
    expect(count(open, "waiting")).toBeLessThanOrEqual(concurrency);
    const ids = [...open.members].flatMap(([key, { status }]) =>
      status === "waiting" ? [key.split("#")[0]] : [],
    );
    expect(new Set(ids).size).toBe(ids.length);
    expect(failingClients(open).every((client) => run.population.has(client))).toBe(true);
  }
  const { round } = run;
  if (round?.phase === "closed") {
    const updates = updatesOf(round.members);
    const { buffer, maxStaleness } = run.config.cohort as { buffer: number; maxStaleness?: number };
    expect(updates).toHaveLength(buffer);
    const live = new Set(hashesOf(run));
    for (const { client, draw, start } of updates) {
      const staleness = round.number - 1 - start!.version;
      expect(staleness).toBeGreaterThanOrEqual(0);
      expect(staleness).toBeLessThanOrEqual(maxStaleness ?? Number.POSITIVE_INFINITY);
      expect(start!.global.model.sha256).toBe(`g${start!.version}`);
      expect(live.has(start!.global.model.sha256)).toBe(true);
      expect(round.members.has(keyOf(client, draw))).toBe(true);
      if (!aggregated.includes(draw!)) aggregated.push(draw!);
    }
  }
  for (const { client, draw } of todo(run).filter((work) => work.kind === "offer")) {
    const { start } = assignmentOf(run, client, draw!)!;
    expect(new Set(hashesOf(run)).has(start.global.model.sha256)).toBe(true);
  }
}
