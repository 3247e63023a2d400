import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createLog, silentLog } from "../../../base/log.ts";
import { type RunConfig, runConfig } from "../../../config/run.ts";
import { startFleet } from "../../../scenarios/fleet/fleet.ts";
import { clientName, fleetShards } from "../../../scenarios/fleet/shards.ts";
import { takeTurns } from "../../../scenarios/fleet/turns.ts";
import { federation, finalHash, RUN } from "../../e2e/federation.ts";
import { createToyTrainer, toyAdapter, toyExamples } from "../../toy-trainer.ts";
import { runToEnd, toyClients } from "./toy-fleet.ts";

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), "fedloom-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return directory;
}

test("a fleet and a networked run of the same configuration end with the same adapter", async () => {
  const { run } = await runToEnd({}, toyClients("c1", "c2"));
  expect(run.phase).toBe("finished");
  const setting = await federation();
  const coordinator = setting.coordinator();
  setting.client("c1");
  setting.client("c2");
  expect(run.global!.model.sha256).toBe(await finalHash(coordinator));
});

test("a fleet gives the same adapter each time, another seed another one", async () => {
  const names = Array.from({ length: 12 }, (_, i) => clientName(i, 12));
  const cohort = { perRound: 5, quorum: 5 };
  const hashes = [];
  for (const seed of [1, 1, 2]) {
    const { run } = await runToEnd({ seed, cohort }, toyClients(...names));
    hashes.push(run.global!.model.sha256);
  }
  expect(hashes[0]).toBe(hashes[1]);
  expect(hashes[0]).not.toBe(hashes[2]);
});

test("a fleet in memory holds the blobs of the last rounds, however many there were", async () => {
  const held = async (rounds: number): Promise<number> => {
    const fleet = await startFleet({
      config: runConfig.parse({ ...RUN, rounds, keep: { last: 1 } }),
      trainer: createToyTrainer(),
      device: "cpu",
      log: silentLog,
      clients: toyClients("c1", "c2"),
    });
    onTestFinished(() => fleet.close());
    await fleet.ended;
    return (await fleet.coordinator.parts.blobs.list()).length;
  };
  const few = await held(4);
  expect(few).toBeGreaterThan(4); // two updates, the first and the newest adapter, configurations
  expect(await held(12)).toBe(few);
});

test("published sampling draws the benchmark's clients: three of ten in the first round are 0, 6 and 9", async () => {
  const names = Array.from({ length: 10 }, (_, i) => clientName(i, 10));
  const lines: string[] = [];
  const log = createLog({ level: "info", format: "pretty", write: (line) => void lines.push(line) });
  await runToEnd(
    { rounds: 1, cohort: { perRound: 3, quorum: 3, sampling: "published" } },
    toyClients(...names),
    { log },
  );
  // The benchmark counts rounds from 0. Python: random.seed(0); sorted(random.sample(range(10), 3)) == [0, 6, 9]
  const asked = lines
    .filter((line) => line.includes("Task received"))
    .map((line) => /client=(\S+)/.exec(line)![1]);
  expect(asked.sort()).toEqual(["client-0", "client-6", "client-9"]);
});

test("a fleet that was stopped goes on from its state directory, to the same adapter", async () => {
  const clients = toyClients("c1", "c2", "c3");
  const { run: whole } = await runToEnd({}, clients);
  const state = temporary();
  const first = await startFleet({
    config: runConfig.parse(RUN),
    trainer: createToyTrainer(),
    device: "cpu",
    log: silentLog,
    clients,
    state,
    key: "k",
  });
  await new Promise<void>((resolve) => {
    first.engine.onEvent(({ event }) => {
      if (event.type === "published" && first.engine.rounds.length === 2) resolve();
    });
  });
  await first.close();
  const { run } = await runToEnd({}, clients, { state, key: "k" });
  expect(run.global!.model.sha256).toBe(whole.global!.model.sha256);
  const [id] = readdirSync(join(state, "runs"));
  const lines = readFileSync(join(state, "runs", id!, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n");
  expect(lines.map((line) => JSON.parse(line).round)).toEqual([1, 2, 3, 4]);
});

test("a run that cannot go on ends with its reason", async () => {
  const trainer = createToyTrainer({
    beforeStep() {
      throw new Error("no");
    },
  });
  const { run } = await runToEnd({}, toyClients("c1", "c2"), { trainer });
  expect(run.stopped?.reason).toContain("F5101");
});

test("a configuration without a fleet is refused, and so is a client without examples", async () => {
  const config = runConfig.parse(RUN);
  const options = { config, trainer: createToyTrainer(), device: "cpu", log: silentLog };
  await expect(startFleet(options)).rejects.toThrow(expect.objectContaining({ code: "F6011" }));
  const data = dataset(3);
  await expect(fleetShards({ clients: 4, data })).rejects.toThrow(expect.objectContaining({ code: "F6010" }));
});

test("without a partition examples are dealt out in turn; with one, clients hold what it says", async () => {
  const data = dataset(5);
  const dealt = await fleetShards({ clients: 2, data });
  expect(dealt.map(({ id, shard }) => [id, shard.train.map((example) => example.id)])).toEqual([
    ["client-0", ["e0", "e2", "e4"]],
    ["client-1", ["e1", "e3"]],
  ]);
  const partition = join(temporary(), "partition.json");
  const examples = (...ids: string[]) => ids.map((id) => ({ id, keep: ["text"] }));
  writeFileSync(
    partition,
    JSON.stringify({
      version: 1,
      clients: [
        { client: 0, examples: examples("e4") },
        { client: 1, examples: examples("e0", "e3") },
      ],
    }),
  );
  const parted = await fleetShards({ clients: 2, data, partition });
  expect(parted.map(({ shard }) => shard.train.map((example) => example.id))).toEqual([["e4"], ["e0", "e3"]]);
});

test("a trainer that is shared does one task at a time, in the order of the calls, and skips what was called off", async () => {
  const log: string[] = [];
  const gates = Array.from({ length: 3 }, () => Promise.withResolvers<void>());
  let started = 0;
  const trainer = takeTurns(
    createToyTrainer({
      steps: 1,
      async beforeStep() {
        const turn = started++;
        log.push(`begin ${turn}`);
        await gates[turn]!.promise;
        log.push(`end ${turn}`);
      },
    }),
  );
  const config = runConfig.parse(RUN) as RunConfig;
  const task = { adapter: toyAdapter(), options: config.training, seed: "s" };
  const calledOff = new AbortController();
  const first = trainer.train(task, toyExamples("a", 1), {});
  const second = trainer.train(task, toyExamples("b", 1), { signal: calledOff.signal });
  const third = trainer.train(task, toyExamples("c", 1), {});
  calledOff.abort();
  gates[0]!.resolve();
  await first;
  await expect(second).rejects.toThrow();
  gates[1]!.resolve();
  await third;
  expect(log).toEqual(["begin 0", "end 0", "begin 1", "end 1"]);
});

test("what is made of a shared trainer's result is done before the next turn begins", async () => {
  const log: string[] = [];
  const trainer = takeTurns(createToyTrainer({ steps: 1, beforeStep: async () => void log.push("trained") }));
  const config = runConfig.parse(RUN) as RunConfig;
  const task = { adapter: toyAdapter(), options: config.training, seed: "s" };
  const client = async (id: string): Promise<void> => {
    await trainer.train(task, toyExamples(id, 1), {});
    for (let step = 0; step < 20; step++) await Promise.resolve(); // as its update goes from hand to hand
    log.push(`delivered ${id}`);
  };
  await Promise.all([client("a"), client("b")]);
  expect(log).toEqual(["trained", "delivered a", "trained", "delivered b"]);
});

/** A dataset directory with this many text examples, e0 to eN. */
function dataset(count: number): string {
  const directory = temporary();
  const rows = Array.from({ length: count }, (_, i) =>
    JSON.stringify({
      id: `e${i}`,
      messages: [
        { role: "user", content: `What is ${i}?` },
        { role: "assistant", content: `${i}` },
      ],
    }),
  );
  writeFileSync(join(directory, "train.jsonl"), `${rows.join("\n")}\n`);
  return directory;
}
