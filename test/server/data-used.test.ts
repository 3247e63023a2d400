import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createLog } from "../../base/log.ts";
import type { CoordinatorOptions } from "../../server/coordinator.ts";
import { FakeClient } from "./fake-client.ts";
import { config, coordinatorIn, finished, later, model, temporaryDirectory, until } from "./setting.ts";

const [ONE, TWO, HELD] = ["1", "2", "e"].map((digit) => digit.repeat(64)) as [string, string, string];

/** Two clients: the data of "a" is another one from round 2 on, "b" is too old to tell. */
async function open(directory: string, over: Partial<CoordinatorOptions> = {}) {
  const coordinator = await coordinatorIn(directory, over);
  const changing = (round: number): string => (round < 2 ? ONE : TWO);
  for (const id of ["a", "b"]) {
    const client = new FakeClient(coordinator.fleet({ address: "in process" }), id, {
      claim: (result, { round }) => (id === "a" ? { ...result, dataFingerprint: changing(round) } : result),
    });
    client.ended.catch(() => undefined);
    later(() => client.close());
  }
  return coordinator;
}

const withHeldOut = { ...model, heldOutFingerprint: async () => HELD };
const evaluated = config({ rounds: 3, evaluation: { data: "held-out", metrics: ["loss"] } });

const manifestIn = (directory: string, run: string) =>
  JSON.parse(readFileSync(join(directory, "runs", run, "manifest.json"), "utf8"));

test("the manifest tells what each client trained on, since when, and what was evaluated on", async () => {
  const directory = temporaryDirectory();
  const lines: string[] = [];
  const log = createLog({ level: "warn", format: "pretty", write: (line) => void lines.push(line) });
  const coordinator = await open(directory, { model: withHeldOut, log });
  later(() => coordinator.close());
  const engine = await coordinator.submitRun({ config: evaluated });
  await finished(engine);
  const manifest = manifestIn(directory, engine.run.id);
  expect(manifest.data).toEqual({
    clients: {
      a: [
        { since: 1, examples: 10, fingerprint: ONE },
        { since: 2, examples: 10, fingerprint: TWO },
      ],
      b: [{ since: 1, examples: 10 }],
    },
    heldOut: [{ since: 1, fingerprint: HELD }],
  });
  expect(manifest).toMatchObject({
    base: engine.run.base,
    firstAdapter: engine.run.kept[0]!.global.model.sha256,
    seed: 42,
  });
  // Said once, in the round where it changed.
  const told = lines.filter((line) => line.includes("not what it was"));
  expect(told).toHaveLength(1);
  expect(told[0]).toMatch(/round=2 +client=a$/);
});

test("a coordinator that is started again knows what was trained on before, and a run of the same data leaves the same manifest", async () => {
  const directory = temporaryDirectory();
  const first = await open(directory, { model: withHeldOut });
  const engine = await first.submitRun({ config: evaluated });
  await until(engine, (run) => run.number === 2 && run.phase === "collecting");
  await first.close();
  const before = manifestIn(directory, engine.run.id);
  expect(before.data.clients.a).toEqual([{ since: 1, examples: 10, fingerprint: ONE }]);

  const second = await open(directory, { model: withHeldOut });
  later(() => second.close());
  const again = second.engine(engine.run.id);
  await finished(again);
  const undisturbed = await second.submitRun({ config: evaluated });
  await finished(undisturbed);
  const { run: _, createdAtMs: __, ...one } = manifestIn(directory, again.run.id);
  const { run: ___, createdAtMs: ____, ...other } = manifestIn(directory, undisturbed.run.id);
  expect(one).toEqual(other);
});

test("a fingerprint that is none is refused by name", async () => {
  const coordinator = await coordinatorIn(undefined);
  later(() => coordinator.close());
  const client = new FakeClient(coordinator.fleet({ address: "in process" }), "bad", {
    claim: (result) => ({ ...result, dataFingerprint: "every patient's name" }),
  });
  client.ended.catch(() => undefined);
  later(() => client.close());
  const engine = await coordinator.submitRun({ config: config({ rounds: 1, cohort: { perRound: 1 } }) });
  await finished(engine);
  expect(engine.run.stopped?.reason).toContain(
    'Cannot understand client "bad": the fingerprint of its data must be 64 lower-case hexadecimal digits',
  );
});
