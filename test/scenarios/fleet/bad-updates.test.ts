/** Updates that must not reach an average, through the client's and the coordinator's own code: named, and the old global stays. */
import { expect, test } from "vitest";
import { float32, type TensorSet, tensorSet } from "../../../adapters/tensor.ts";
import type { Trainer, TrainResult } from "../../../training/trainer.ts";
import { createToyTrainer } from "../../toy-trainer.ts";
import { runToEnd, toyClients } from "./toy-fleet.ts";

/** A fleet of toy clients runs in well under a second; a machine with many other jobs needs more. */
const TIMEOUT_MS = 60_000;

const B = "base_model.model.layers.1.v_proj.lora_B.weight";

/** What clients whose number is in `bad` send instead of what they trained, from `round` on. */
function spoiled(
  bad: readonly string[],
  spoil: (result: TrainResult) => Partial<TrainResult>,
  round = 1,
): Trainer {
  const toy = createToyTrainer();
  const trainings = new Map<string, number>();
  return {
    ...toy,
    async train(task, examples, control) {
      const result = await toy.train(task, examples, control);
      const client = examples[0]!.id.replace(/-\d+$/, "");
      trainings.set(client, (trainings.get(client) ?? 0) + 1);
      if (!bad.includes(client) || trainings.get(client)! < round) return result;
      return { ...result, ...spoil(result) };
    },
  };
}

const changed = (
  tensors: TensorSet,
  change: (values: Float32Array) => Float32Array,
  shape?: readonly number[],
) =>
  tensorSet(
    [...tensors].map(([name, value]) => [
      name,
      name === B ? float32(shape ?? value.shape, change(value.data as Float32Array)) : value,
    ]),
  );

const withB =
  (change: (values: Float32Array) => Float32Array, shape?: readonly number[]) =>
  ({ adapter }: TrainResult): Partial<TrainResult> => ({
    adapter: { ...adapter, tensors: changed(adapter.tensors, change, shape) },
  });

const nan = withB((values) => values.map((value, i) => (i === 3 ? Number.NaN : value)));
const cohort = { perRound: 3, quorum: 2 };
const names = ["a", "b", "c"] as const;

test.each([
  ["NaN", nan, "F3102", /tensor ".*v_proj\.lora_B\.weight" must be finite, got NaN at position 3/],
  [
    "an infinite value",
    withB((values) => values.map((value, i) => (i === 0 ? -Number.POSITIVE_INFINITY : value))),
    "F3102",
    /must be finite, got -Infinity at position 0/,
  ],
  [
    "a shape that broadcasts",
    withB((values) => values.slice(0, 2), [1, 2]),
    "F3101",
    /tensor ".*v_proj\.lora_B\.weight" must have shape \[5, 2\], got \[1, 2\]/,
  ],
  [
    "an absurd count",
    () => ({ examples: 1e12 }),
    "F3104",
    /"examples" must be a whole number from 0 to 1000000000/,
  ],
  ["nothing trained", () => ({ examples: 0 }), "F3108", /it trained on 0 examples/],
])(
  "%s of one client is refused by name, and the round goes on without it",
  async (_, spoil, code, message) => {
    const { run, rounds } = await runToEnd({ rounds: 1, cohort }, toyClients(...names), {
      trainer: spoiled(["b"], spoil),
    });
    expect(run.phase).toBe("finished");
    expect(rounds[0]!.clients.map(({ client }) => client)).toEqual(["a", "c"]);
    expect(rounds[0]!.failures).toEqual([
      { client: "b", phase: expect.any(String), code, message: expect.stringMatching(message) },
    ]);
    expect(rounds[0]!.failures[0]!.message).toContain('client "b"');
  },
  TIMEOUT_MS,
);

test(
  "when all updates of a round are refused the run stops with the reason, and the global adapter stays that of the round before",
  async () => {
    const sound = await runToEnd({ rounds: 1, cohort }, toyClients(...names));
    const { run, rounds } = await runToEnd({ rounds: 3, cohort }, toyClients(...names), {
      trainer: spoiled(names, nan, 2),
    });
    expect(run.stopped?.reason).toMatch(/F3102/);
    expect(rounds).toHaveLength(1);
    expect(run.global!.model.sha256).toBe(sound.run.global!.model.sha256);
  },
  TIMEOUT_MS,
);

test(
  "a result that overflows stops the run by name, and the global adapter stays that of the round before",
  async () => {
    const strategy = { name: "task-arithmetic", lambda: 3 };
    const sound = await runToEnd({ rounds: 1, cohort, strategy }, toyClients(...names));
    const { run, rounds } = await runToEnd({ rounds: 3, cohort, strategy }, toyClients(...names), {
      trainer: spoiled(
        names,
        withB((values) => values.fill(3e38)),
        2,
      ),
    });
    expect(run.stopped).toMatchObject({
      code: "F3114",
      reason: expect.stringContaining(`with "task-arithmetic": tensor "${B}" is not finite`),
    });
    expect(rounds).toHaveLength(1);
    expect(run.global!.model.sha256).toBe(sound.run.global!.model.sha256);
  },
  TIMEOUT_MS,
);
