import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { expect, onTestFinished, test } from "vitest";
import { openUpdate } from "../../adapters/encoded-update.ts";
import { decodeAdapter } from "../../adapters/peft.ts";
import { viewSafetensors } from "../../adapters/safetensors.ts";
import { type Clock, systemClock } from "../../base/clock.ts";
import { FedloomError } from "../../base/errors.ts";
import { armFailpoints } from "../../base/failpoint.ts";
import { createLog, silentLog } from "../../base/log.ts";
import { createRng } from "../../base/rng.ts";
import { shareable } from "../../client/failure.ts";
import { tailLog } from "../../client/log-tail.ts";
import { type NodeOptions, runNode } from "../../client/node.ts";
import { holdConnection } from "../../client/standing.ts";
import { type ClientState, createMemoryState, openState } from "../../client/state.ts";
import {
  CancelTaskSchema,
  ConnectResponseSchema,
  type SubmitResultRequest,
  Verdict,
} from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import { createToyTrainer, TOY_BASE, toyAdapter, toyExamples } from "../toy-trainer.ts";
import { createFakeFleet, type FakeFleet } from "./fake-fleet.ts";

interface Running {
  readonly done: Promise<void>;
  readonly lines: string[];
  readonly state: ClientState;
  stop(): Promise<void>;
}

/** Pauses between attempts take no time; deadlines and idle limits keep theirs. */
const impatient: Clock = {
  ...systemClock,
  after: (delayMs, wake) => systemClock.after(delayMs < 20_000 ? 0 : delayMs, wake),
};

function start(fleet: FakeFleet, more: Partial<NodeOptions> = {}): Running {
  const lines: string[] = [];
  const ending = new AbortController();
  const rng = createRng(1);
  const state = more.state ?? createMemoryState("c1");
  const clock = more.clock ?? impatient;
  const done = runNode({
    fleet,
    open: (hello, events) => holdConnection(fleet, hello, events, { clock: systemClock, rng }),
    trainer: createToyTrainer(),
    device: "cpu",
    shard: { train: toyExamples("c1", 4), heldOut: toyExamples("held", 2) },
    state,
    clock,
    rng,
    log: createLog({ level: "debug", format: "pretty", write: (line) => void lines.push(line) }),
    signal: ending.signal,
    ...more,
  });
  done.catch(() => {}); // looked at by the test that expects it
  const stop = async (): Promise<void> => {
    ending.abort();
    await done;
  };
  onTestFinished(() => ending.abort());
  return { done, lines, state, stop };
}

/** Looks at what no event tells of. @throws Error after ten seconds */
async function eventually(holds: () => boolean): Promise<void> {
  const startedMs = performance.now();
  while (!holds()) {
    if (performance.now() - startedMs > 10_000) throw new Error(`Never came true: ${holds}`);
    await new Promise(setImmediate);
  }
}

function updateOf(fleet: FakeFleet, { adapterConfig, adapterModel }: SubmitResultRequest) {
  return decodeAdapter(
    { config: fleet.blobs.get(adapterConfig!.sha256)!, model: fleet.blobs.get(adapterModel!.sha256)! },
    "the update",
  );
}

test("trains a task and brings the whole adapter with its counts", async () => {
  const fleet = createFakeFleet();
  const node = start(fleet);
  const task = fleet.trainTask("t1", toyAdapter());
  fleet.offer(task);
  await fleet.until(() => fleet.submitted.length === 1);
  await node.stop();
  const [result] = fleet.submitted;
  expect(result).toMatchObject({
    clientId: "c1",
    taskId: "t1",
    runId: "run",
    round: 1,
    examples: 4n,
    steps: 3n,
    touched: { text: 4n, image: 0n, audio: 0n },
    trainedFrom: task.adapterModel!.sha256,
  });
  const update = updateOf(fleet, result!);
  expect([...update.tensors.keys()]).toEqual([...toyAdapter().tensors.keys()]);
  expect(result!.metrics.lossLast).toBeLessThan(result!.metrics.lossFirst!);
  expect(node.state.kept()).toEqual([]);
  expect(node.state.noted()).toBeUndefined();
});

test("the same task gives the same bytes on every client state", async () => {
  const hashes: string[] = [];
  for (let i = 0; i < 2; i++) {
    const fleet = createFakeFleet();
    const node = start(fleet);
    fleet.offer(fleet.trainTask("t1", toyAdapter()));
    await fleet.until(() => fleet.submitted.length === 1);
    await node.stop();
    hashes.push(fleet.submitted[0]!.adapterModel!.sha256);
  }
  expect(hashes[0]).toBe(hashes[1]);
});

test("evaluates on its held-out examples and sends scores, no adapter", async () => {
  const fleet = createFakeFleet();
  const node = start(fleet);
  fleet.offer(
    fleet.trainTask("e1", toyAdapter(), {
      optionsJson: Buffer.from(
        JSON.stringify({
          kind: "evaluate",
          seed: "s",
          prompt: "standard",
          metrics: ["exact-match"],
          maxNewTokens: 4,
          batchSize: 2,
        }),
      ),
    }),
  );
  await fleet.until(() => fleet.submitted.length + fleet.failures.length === 1);
  await node.stop();
  expect(fleet.failures).toEqual([]);
  // The toy trainer answers with the truth.
  expect(fleet.submitted[0]).toMatchObject({ examples: 2n, metrics: { "exact-match": 1 } });
  expect(fleet.submitted[0]!.adapterModel).toBeUndefined();
});

test("says what it holds when it joins", async () => {
  const fleet = createFakeFleet();
  const image = { name: "a.png", read: async () => new Uint8Array() };
  const withImage = toyExamples("i", 1).map((example) => ({ ...example, images: [image] }));
  const node = start(fleet, { shard: { train: [...toyExamples("t", 3), ...withImage], heldOut: [] } });
  await fleet.until(() => fleet.hellos.length === 1);
  await node.stop();
  expect(fleet.hellos[0]!.inventory).toMatchObject({
    examples: { text: 3n, "image+text": 1n },
    heldOutExamples: 0n,
    trainer: "toy",
    device: "cpu",
    baseModel: TOY_BASE,
  });
});

test("a failure in training is reported with phase and code, and the next task is done", async () => {
  const fleet = createFakeFleet();
  let first = true;
  const trainer = createToyTrainer({
    beforeStep() {
      if (first) {
        first = false;
        throw new FedloomError("F2001", "Cannot read the picture");
      }
    },
  });
  const node = start(fleet, { trainer });
  fleet.offer(fleet.trainTask("t1", toyAdapter()));
  await fleet.until(() => fleet.failures.length === 1);
  expect(fleet.failures[0]).toMatchObject({
    clientId: "c1",
    taskId: "t1",
    phase: "train",
    code: "F2001",
    message: "Cannot read the picture",
  });
  fleet.offer(fleet.trainTask("t2", toyAdapter()));
  await fleet.until(() => fleet.submitted.length === 1);
  await node.stop();
  expect(fleet.submitted[0]!.taskId).toBe("t2");
});

test("the text of an error without a code stays in the client's own log", async () => {
  const fleet = createFakeFleet();
  const trainer = createToyTrainer({
    beforeStep() {
      throw new TypeError("patient 4711 has no picture");
    },
  });
  const node = start(fleet, { trainer });
  fleet.offer(fleet.trainTask("t1", toyAdapter()));
  await fleet.until(() => fleet.failures.length === 1);
  await node.stop();
  expect(fleet.failures[0]).toMatchObject({ code: "F5101", phase: "train" });
  expect(fleet.failures[0]!.message).toBe(
    "The client met an error of class TypeError; its own log has the text",
  );
  expect(node.lines.join("\n")).toContain("patient 4711");
});

test("a site that shares its log sends the last lines with the report of a failure", async () => {
  const fleet = createFakeFleet();
  const trainer = createToyTrainer({
    beforeStep() {
      throw new FedloomError("F2001", "Cannot read the picture");
    },
  });
  const node = start(fleet, { trainer, shareLogLines: 2 });
  await fleet.until(() => fleet.hellos.length === 1);
  fleet.offer(fleet.trainTask("t1", toyAdapter()));
  await fleet.until(() => fleet.failures.length === 1);
  await node.stop();
  expect(fleet.failures[0]!.message).toBe(
    "Cannot read the picture\ninfo: Task received task=t1 run=run round=1\n" +
      "error: Task failed in train task=t1 run=run round=1 code=F2001 reason=Cannot read the picture",
  );
});

test("secrets are masked in the lines that are kept for a report too", () => {
  const { log, lines } = tailLog(silentLog, 3);
  log.warn("Joined", { joinToken: "fl1.abc", site: "harbor", text: "z".repeat(500) });
  expect(lines()).toEqual([`warn: Joined joinToken=[masked] site=harbor text=${"z".repeat(400)}...`]);
});

test("of log lines that do not fit the newest ones are sent", () => {
  const lines = Array.from({ length: 50 }, (_, k) => `info: step ${k} ${"x".repeat(60)}`);
  const told = shareable(new FedloomError("F2001", "Cannot read the picture"), lines);
  expect(told.length).toBeLessThanOrEqual(2_000);
  expect(told).toMatch(/^Cannot read the picture\ninfo: step \d\d /);
  expect(told.endsWith(lines.at(-1)!)).toBe(true);
  expect(shareable(new FedloomError("F2001", "No"), ["y".repeat(3_000)])).toBe("No");
});

test("a task for another base model is refused with both hashes", async () => {
  const fleet = createFakeFleet();
  const node = start(fleet);
  fleet.offer(fleet.trainTask("t1", toyAdapter(), { baseModel: "1".repeat(64) }));
  await fleet.until(() => fleet.failures.length === 1);
  await node.stop();
  expect(fleet.failures[0]!.code).toBe("F5104");
  expect(fleet.failures[0]!.message).toContain("1".repeat(64));
  expect(fleet.failures[0]!.message).toContain(TOY_BASE);
});

test("a task with options of another version is refused by the key", async () => {
  const fleet = createFakeFleet();
  const node = start(fleet);
  fleet.offer(fleet.trainTask("t1", toyAdapter(), { optionsJson: Buffer.from('{"kind":"train"}') }));
  fleet.offer(fleet.trainTask("t2", toyAdapter(), { optionsJson: Buffer.from("{") }));
  await fleet.until(() => fleet.failures.length === 2);
  await node.stop();
  expect(fleet.failures.map(({ code }) => code)).toEqual(["F5102", "F5102"]);
  expect(fleet.failures[0]!.message).toContain('"seed"');
});

test("a client without examples does not start", async () => {
  const node = start(createFakeFleet(), { shard: { train: [], heldOut: [] } });
  await expect(node.done).rejects.toThrow(expect.objectContaining({ code: "F5103" }));
});

test("a client without training examples refuses to train, and says so", async () => {
  const fleet = createFakeFleet();
  const node = start(fleet, { shard: { train: [], heldOut: toyExamples("h", 1) } });
  fleet.offer(fleet.trainTask("t1", toyAdapter()));
  await fleet.until(() => fleet.failures.length === 1);
  await node.stop();
  expect(fleet.failures[0]!.code).toBe("F5103");
});

test("a cancelled task stops in mid-training and is neither submitted nor reported", async () => {
  const fleet = createFakeFleet();
  const steps: number[] = [];
  const trainer = createToyTrainer({
    beforeStep(step, signal) {
      steps.push(step);
      if (step !== 2 || steps.length > 2) return;
      const cancel = create(CancelTaskSchema, { taskId: "t1", code: "F4100", reason: "enough updates" });
      fleet.send(create(ConnectResponseSchema, { message: { case: "cancel", value: cancel } }));
      return new Promise((resolve) => signal!.addEventListener("abort", () => resolve(), { once: true }));
    },
  });
  const node = start(fleet, { trainer });
  fleet.offer(fleet.trainTask("t1", toyAdapter()));
  fleet.offer(fleet.trainTask("t2", toyAdapter()));
  await fleet.until(() => fleet.submitted.length === 1);
  await node.stop();
  expect(steps).toEqual([1, 2, 1, 2, 3]);
  expect(fleet.submitted[0]!.taskId).toBe("t2");
  expect(fleet.failures).toEqual([]);
});

test("a task past its round's deadline is given up by name", async () => {
  const fleet = createFakeFleet();
  const trainer = createToyTrainer({
    beforeStep: (_, signal) =>
      new Promise((resolve) => signal!.addEventListener("abort", () => resolve(), { once: true })),
  });
  const node = start(fleet, { trainer });
  fleet.offer(fleet.trainTask("t1", toyAdapter(), { deadlineMs: 1_000n })); // the impatient clock: at once
  await fleet.until(() => fleet.failures.length === 1);
  await node.stop();
  expect(fleet.failures[0]).toMatchObject({ code: "F5109", phase: "train" });
});

test("a task that is sent again on a new connection is done once", async () => {
  const fleet = createFakeFleet();
  let trainings = 0;
  const trainer = createToyTrainer({
    steps: 1,
    async beforeStep() {
      trainings++;
      const before = fleet.hellos.length;
      fleet.drop();
      await fleet.until(() => fleet.hellos.length > before);
    },
  });
  const node = start(fleet, { trainer });
  fleet.offer(fleet.trainTask("t1", toyAdapter()));
  await fleet.until(() => fleet.submitted.length === 1);
  await node.stop();
  expect(trainings).toBe(1);
  expect(fleet.hellos.at(-1)!.heldTasks).toEqual(["t1"]);
});

test("a finished result outlives its process and is offered, not trained, again", async () => {
  const fleet = createFakeFleet();
  const state = createMemoryState("c1");
  let trainings = 0;
  const trainer = createToyTrainer({ steps: 1, beforeStep: () => void trainings++ });
  fleet.before = (call) => {
    if (call === "submitResult") throw new FedloomError("F5001", "The coordinator is gone");
  };
  const first = start(fleet, { state, trainer });
  fleet.offer(fleet.trainTask("t1", toyAdapter()));
  await eventually(() => state.kept().length > 0);
  await first.stop();
  expect(state.kept()).toHaveLength(1);

  fleet.before = () => {};
  const second = start(fleet, { state, trainer });
  await fleet.until(() => fleet.submitted.length === 1);
  await second.stop();
  expect(trainings).toBe(1);
  expect(state.kept()).toEqual([]);
  expect(second.lines.join("\n")).not.toContain("Task received");
});

test("a kept result that was damaged on disk is dropped by name and its task trained again", async () => {
  const fleet = createFakeFleet();
  const state = createMemoryState("c1");
  fleet.before = (call) => {
    if (call === "statBlob") throw new FedloomError("F5001", "The coordinator is gone");
  };
  const first = start(fleet, { state });
  fleet.offer(fleet.trainTask("t1", toyAdapter()));
  await eventually(() => state.kept().length > 0);
  await first.stop();
  state.blobs.prune(new Set()); // what a damaged disk may do

  fleet.before = () => {};
  const second = start(fleet, { state });
  await fleet.until(() => fleet.submitted.length === 1);
  await second.stop();
  expect(second.lines.join("\n")).toContain(
    "The kept result is damaged on disk; its task begins anew (F5106)",
  );
  expect(fleet.submitted[0]!.taskId).toBe("t1");
});

test.each([
  [Verdict.LATE, "Result late"],
  [Verdict.REFUSED, "Result refused"],
])("verdict %s is logged and the result forgotten", async (verdict, words) => {
  const fleet = createFakeFleet();
  fleet.verdict = verdict;
  const node = start(fleet);
  fleet.offer(fleet.trainTask("t1", toyAdapter()));
  await fleet.until(() => fleet.submitted.length === 1);
  await node.stop();
  expect(node.lines.join("\n")).toContain(words);
  expect(node.state.kept()).toEqual([]);
});

test("a coordinator that is gone is waited for, and the log says so", async () => {
  const fleet = createFakeFleet();
  let absent = 3;
  fleet.before = (call) => {
    if (call === "connect" && absent-- > 0) throw new FedloomError("F5001", "Cannot call: no one there");
  };
  const node = start(fleet, {
    open: (hello, events) => holdConnection(fleet, hello, events, { clock: impatient, rng: createRng(2) }),
  });
  fleet.offer(fleet.trainTask("t1", toyAdapter()));
  await fleet.until(() => fleet.submitted.length === 1);
  await node.stop();
  expect(node.lines.filter((line) => line.includes("Connection lost; trying again (F5001)"))).toHaveLength(3);
});

test("a newer process of the same name ends this one with a clear error", async () => {
  const fleet = createFakeFleet();
  const node = start(fleet);
  await fleet.until(() => fleet.hellos.length === 1);
  fleet.drop(new FedloomError("F5004", 'Cannot keep the connection of client "c1": a newer one was made'));
  await expect(node.done).rejects.toThrow(expect.objectContaining({ code: "F5004" }));
});

test("personal tensors stay, and the next round starts from them", async () => {
  const fleet = createFakeFleet();
  const node = start(fleet);
  const onlyA = { travels: "lora_A" };
  fleet.offer(fleet.trainTask("t1", toyAdapter(), {}, onlyA));
  await fleet.until(() => fleet.submitted.length === 1);
  const kept = node.state.local.before("personal", "run", 2)!;
  expect([...kept.keys()].every((name) => name.includes("lora_B"))).toBe(true);
  fleet.offer(
    fleet.trainTask(
      "t2",
      toyAdapter(),
      { round: 2 },
      { ...onlyA, training: { learning_rate: 1e-30 } as never },
    ),
  );
  await fleet.until(() => fleet.submitted.length === 2);
  await node.stop();
  // With a learning rate of next to nothing the personal tensors of round 2 are those of round 1.
  const name = "base_model.model.layers.0.q_proj.lora_B.weight";
  expect(node.state.local.before("personal", "run", 3)!.get(name)!.data).toEqual(kept.get(name)!.data);
});

test("the optimizer's state stays, and the next round goes on from it, where the run says so", async () => {
  const fleet = createFakeFleet();
  const node = start(fleet);
  const offer = (id: string, round: number, keep: boolean) =>
    fleet.offer(
      fleet.trainTask(id, toyAdapter(), { round }, { training: { keep_optimizer_state: keep } as never }),
    );
  const steps = (before: number) =>
    node.state.local.before("optimizer", "run", before)?.get("steps")?.data[0];
  offer("t1", 1, true);
  await fleet.until(() => fleet.submitted.length === 1);
  offer("t2", 2, true);
  await fleet.until(() => fleet.submitted.length === 2);
  offer("t3", 3, false);
  await fleet.until(() => fleet.submitted.length === 3);
  await node.stop();
  expect([steps(2), steps(3), steps(4)]).toEqual([3, 6, 6]);
  expect(fleet.submitted.map(({ extras }) => extras)).toEqual([{}, {}, {}]);
});

test.each([
  ["client.state-write", 1],
  ["client.blob-append", 3],
  ["client.blob-write", 2],
  ["client.state-write", 2],
] as const)("a full disk at %s, pass %d, is reported by name and the node goes on", async (name, pass) => {
  const fleet = createFakeFleet();
  const directory = mkdtempSync(join(tmpdir(), "fedloom-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const state = openState(directory, "c1");
  armFailpoints(`${name}=error:ENOSPC@${pass}`);
  onTestFinished(() => armFailpoints(""));
  const node = start(fleet, { state });
  fleet.offer(fleet.trainTask("t1", toyAdapter()));
  await fleet.until(() => fleet.failures.length + fleet.submitted.length === 1);
  expect(fleet.failures[0]).toMatchObject({ taskId: "t1", code: "F5107" });
  expect(fleet.failures[0]!.message).toContain("ENOSPC");
  fleet.offer(fleet.trainTask("t2", toyAdapter()));
  await fleet.until(() => fleet.submitted.length === 1);
  await node.stop();
  expect(fleet.submitted[0]!.taskId).toBe("t2");
  expect(state.kept()).toEqual([]);
  state.close();
});

test("a coordinator that does not know the task yet gets the result when it offers the task again", async () => {
  const fleet = createFakeFleet();
  let trainings = 0;
  let unknowing = true;
  fleet.before = (call) => {
    if (call === "pushBlob" && unknowing) throw new FedloomError("F4011", "It is not the task in hand");
  };
  const node = start(fleet, {
    trainer: createToyTrainer({ steps: 1, beforeStep: () => void trainings++ }),
  });
  const task = fleet.trainTask("t1", toyAdapter());
  fleet.offer(task);
  await eventually(() => node.lines.some((line) => line.includes("Result unasked")));
  expect(node.state.kept()).toHaveLength(1);
  unknowing = false;
  fleet.offer(task);
  await fleet.until(() => fleet.submitted.length === 1);
  await node.stop();
  expect(trainings).toBe(1);
  expect(node.state.kept()).toEqual([]);
});

test("a finished result whose task is closed is offered for the record, without its blobs", async () => {
  const fleet = createFakeFleet();
  const state = createMemoryState("c1");
  fleet.before = (call) => {
    if (call === "statBlob") throw new FedloomError("F5001", "The coordinator is gone");
  };
  const first = start(fleet, { state });
  fleet.offer(fleet.trainTask("t1", toyAdapter()));
  await eventually(() => state.kept().length > 0);
  await first.stop();

  const later = createFakeFleet();
  later.verdict = Verdict.LATE;
  const second = start(later, { state });
  await later.until(() => later.hellos.length === 1);
  expect(later.hellos[0]!.heldTasks).toEqual(["t1"]);
  const cancel = create(CancelTaskSchema, { taskId: "t1", code: "F4011" });
  later.send(create(ConnectResponseSchema, { message: { case: "cancel", value: cancel } }));
  await later.until(() => later.submitted.length === 1);
  await second.stop();
  expect(later.blobs.size).toBe(0);
  expect(state.kept()).toEqual([]);
});

test("an update travels by the codec that the run names, its memory stays for the next round", async () => {
  const fleet = createFakeFleet();
  const node = start(fleet);
  const task = fleet.trainTask("t1", toyAdapter(), {}, { codec: "topk" });
  fleet.offer(task);
  await fleet.until(() => fleet.submitted.length === 1);
  await node.stop();
  const handedOut = viewSafetensors(fleet.blobs.get(task.adapterModel!.sha256)!);
  const sent = viewSafetensors(fleet.blobs.get(fleet.submitted[0]!.adapterModel!.sha256)!);
  expect(sent.metadata["fedloom.codec"]).toBe("topk");
  const decoded = openUpdate(sent, { file: handedOut, sha256: task.adapterModel!.sha256 });
  const memory = node.state.local.before("codec-memory", "run", 2)!;
  expect([...memory.keys()]).toEqual([...decoded.names]);
  const name = "base_model.model.layers.0.q_proj.lora_A.weight";
  // 5 % of 12 elements: one was sent, eleven are remembered.
  const changed = (decoded.read(name).data as Float32Array).map(
    (x, i) => x - Number(handedOut.read(name).data[i]),
  );
  expect(changed.filter((x) => x !== 0)).toHaveLength(1);
  expect((memory.get(name)!.data as Float32Array).filter((x) => x !== 0)).toHaveLength(11);
});

test("a blob whose bits changed on the client's disk since the last round is fetched again", async () => {
  const fleet = createFakeFleet();
  const directory = mkdtempSync(join(tmpdir(), "fedloom-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const state = openState(directory, "c1");
  const node = start(fleet, { state });
  const task = fleet.trainTask("t1", toyAdapter());
  fleet.offer(task);
  await fleet.until(() => fleet.submitted.length === 1);
  const path = join(directory, "blobs", task.adapterConfig!.sha256);
  const bytes = readFileSync(path);
  bytes[7]! ^= 1;
  writeFileSync(path, bytes);
  fleet.offer(fleet.trainTask("t2", toyAdapter()));
  await fleet.until(() => fleet.submitted.length + fleet.failures.length === 2);
  await node.stop();
  expect(fleet.failures).toEqual([]);
  const fetched = fleet.fetches.map(({ sha256 }) => sha256);
  expect(fetched.filter((sha256) => sha256 === task.adapterConfig!.sha256)).toHaveLength(2);
  expect(fetched.filter((sha256) => sha256 === task.adapterModel!.sha256)).toHaveLength(1);
  state.close();
});

test("a task that arrives again after its result was accepted is not trained again", async () => {
  const fleet = createFakeFleet();
  let trainings = 0;
  const node = start(fleet, {
    trainer: createToyTrainer({ steps: 1, beforeStep: () => void trainings++ }),
  });
  const task = fleet.trainTask("t1", toyAdapter());
  fleet.offer(task);
  await eventually(() => node.lines.some((line) => line.includes("Result accepted")));
  // A new connection was handed the task just before the result arrived over the old one.
  fleet.offer(task);
  fleet.offer(fleet.trainTask("t2", toyAdapter()));
  await fleet.until(() => fleet.submitted.some(({ taskId }) => taskId === "t2"));
  await node.stop();
  expect(trainings).toBe(2);
});

test("a coordinator that has lost an accepted result gets the task done anew", async () => {
  const fleet = createFakeFleet();
  const node = start(fleet);
  const task = fleet.trainTask("t1", toyAdapter());
  fleet.offer(task);
  await eventually(() => node.lines.some((line) => line.includes("Result accepted")));
  let lost = true;
  fleet.before = (call) => {
    if (call === "submitResult" && lost) {
      lost = false;
      throw new FedloomError("F5011", "Its blobs were not uploaded");
    }
  };
  fleet.offer(task);
  await fleet.until(() => fleet.submitted.length === 2);
  await node.stop();
  expect(fleet.submitted[1]!.adapterModel!.sha256).toBe(fleet.submitted[0]!.adapterModel!.sha256);
});
