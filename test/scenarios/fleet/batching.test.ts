/** Clients of a fleet in common passes, with a real model: what they learn is what each learns on its own. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { TensorSet } from "../../../adapters/tensor.ts";
import { createLog, silentLog } from "../../../base/log.ts";
import { type RunConfig, runConfig } from "../../../config/run.ts";
import type { Example } from "../../../data/example.ts";
import { type FleetOptions, startFleet } from "../../../scenarios/fleet/fleet.ts";
import type { FleetClient } from "../../../scenarios/fleet/shards.ts";
import { openOnnxTrainer } from "../../../training/onnx-trainer.ts";
import type { Trainer } from "../../../training/trainer.ts";

const MODEL = join(import.meta.dirname, "../../golden/models/smollm-tiny");
/** Opening a model and its first sessions takes a second, many times that on a machine whose cores others use. */
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

/**
 * How far the batched adapter may lie from the other one, as a share of the way that training went. A gradient of a
 * common pass differs by rounding, at most 1e-5 of its tensor's largest element (training/onnx/together.test.ts allows
 * 1e-4). AdamW divides each element by its own size, so that the error of an element's step is 1e-5 times how much
 * smaller than the largest it is: 1e-4 for one a tenth its size, and elements far below that are few and move as far as
 * all others. 3e-7 was seen.
 */
const TOLERANCE = 1e-4;

let trainer: Trainer;
beforeAll(async () => {
  trainer = await openOnnxTrainer({ model: MODEL, threads: 1 });
});
afterAll(() => trainer.close());

const example = (id: string, question: string, answer: string): Example => ({
  id,
  turns: [
    { role: "user", content: question },
    { role: "assistant", content: answer },
  ],
  images: [],
  audios: [],
});

/** Unequal in number and length. */
const CLIENTS: FleetClient[] = [3, 1, 4, 2, 2].map((count, client) => ({
  id: `c${client}`,
  shard: {
    train: Array.from({ length: count }, (_, i) =>
      example(
        `c${client}e${i}`,
        `What is ${"more and ".repeat(i + client)} ${i}?`,
        `It is ${client * 7 + i}.`,
      ),
    ),
    heldOut: [],
  },
}));

const CONFIG = runConfig.parse({
  name: "batched",
  model: MODEL,
  adapter: { rank: 4, alpha: 8, dropout: 0.1 },
  rounds: 2,
  seed: 3,
  cohort: { perRound: 5, quorum: 3 },
  training: { learning_rate: 1e-3, per_device_train_batch_size: 2, num_train_epochs: 2 },
});

async function run(options: Partial<FleetOptions>, config: RunConfig = CONFIG) {
  const fleet = await startFleet({
    ...{ config, trainer, device: "cpu", log: silentLog, clients: CLIENTS },
    ...options,
  });
  try {
    await fleet.ended;
    const { run } = fleet.engine;
    if (run.stopped) throw new Error(run.stopped.reason);
    const tensors = async (hash: { sha256: string; size: number }): Promise<TensorSet> => {
      const set = await fleet.coordinator.parts.blobs.tensors(hash, "the adapter");
      return new Map(set.names.map((name) => [name, set.read(name)]));
    };
    return {
      hash: run.global!.model.sha256,
      adapter: await tensors(run.global!.model),
      before: await tensors(run.kept[0]!.global.model),
      rounds: fleet.engine.rounds,
    };
  } finally {
    await fleet.close();
  }
}

function distance(a: TensorSet, b: TensorSet): number {
  let squares = 0;
  for (const [name, { data }] of a) {
    const other = b.get(name)!.data;
    for (let i = 0; i < data.length; i++) squares += (Number(data[i]) - Number(other[i])) ** 2;
  }
  return Math.sqrt(squares);
}

const clientsOf = ({ rounds }: Awaited<ReturnType<typeof run>>) =>
  rounds.flatMap(({ clients }) =>
    clients.map(({ client, examples, steps }) => ({ client, examples, steps })),
  );

test("with batching on, the adapter lies within rounding of that with batching off", async () => {
  const off = await run({ batching: false });
  const on = await run({ batching: true });
  const moved = distance(off.adapter, off.before);
  expect(moved).toBeGreaterThan(0);
  expect(distance(on.adapter, off.adapter) / moved).toBeLessThan(TOLERANCE);
  expect(clientsOf(on)).toEqual(clientsOf(off));
  for (const [i, { loss }] of on.rounds.entries()) expect(loss).toBeCloseTo(off.rounds[i]!.loss!, 4);
  // The same clients in the same passes: the same bits.
  expect((await run({ batching: true })).hash).toBe(on.hash);
});

test("where memory has room for one client only, the log says so and the bits are those of batching off", async () => {
  const lines: string[] = [];
  const log = createLog({ level: "warn", format: "pretty", write: (line) => void lines.push(line) });
  const config = { ...CONFIG, rounds: 1 };
  const small = await run({ memoryBytes: 1, log }, config);
  expect(lines.join()).toContain("Memory has room for 1 of 5 clients in one pass");
  expect(small.hash).toBe((await run({ batching: 1 }, config)).hash);
});

test("clients of unequal rank train in passes of their own rank", async () => {
  const devices = [
    { name: "phone", share: 2, rank: 2 },
    { name: "server", share: 3 },
  ];
  const config = runConfig.parse({
    ...CONFIG,
    rounds: 1,
    strategy: { name: "flexlora" },
    fleet: { clients: CLIENTS.length, data: "held by the test", devices },
  });
  const passes: string[] = [];
  const log = createLog({ level: "info", format: "pretty", write: (line) => void passes.push(line) });
  const on = await run({ log }, config);
  const off = await run({ batching: false }, config);
  expect(
    passes.flatMap((line) => /Clients train together.*clients=(\d)/.exec(line)?.[1] ?? []).sort(),
  ).toEqual(["2", "3"]);
  // The products' singular vectors are the adapter here: where two values lie close, rounding turns them.
  expect(clientsOf(on)).toEqual(clientsOf(off));
  for (const [i, { loss }] of on.rounds.entries()) expect(loss).toBeCloseTo(off.rounds[i]!.loss!, 4);
});
