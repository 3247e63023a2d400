/** What strategies ask of clients beyond training, through the coordinator's and the client's own code. */
import { expect, test } from "vitest";
import type { Adapter } from "../../../adapters/adapter.ts";
import { floats } from "../../../adapters/cast.ts";
import { float32, type TensorSet, tensorSet } from "../../../adapters/tensor.ts";
import type { Trainer, TrainTask } from "../../../training/trainer.ts";
import { createToyTrainer } from "../../toy-trainer.ts";
import { runToEnd, toyClients } from "./toy-fleet.ts";

/** A fleet of toy clients runs in well under a second; a machine with many other jobs needs more. */
const TIMEOUT_MS = 60_000;

const cohort = { perRound: 2, quorum: 2 };
const clientOf = (id: string) => id.replace(/-\d+$/, "");

/** The toy's training, changed by `after`; keeps every task by client. */
function changed(
  after: (
    client: string,
    task: TrainTask,
    trained: Adapter,
  ) => Partial<{ adapter: Adapter; extras: Record<string, TensorSet> }>,
) {
  const toy = createToyTrainer();
  const tasks = new Map<string, TrainTask[]>();
  const trainer: Trainer = {
    ...toy,
    async train(task, examples, control) {
      const client = clientOf(examples[0]!.id);
      tasks.set(client, [...(tasks.get(client) ?? []), task]);
      const result = await toy.train(task, examples, control);
      return { ...result, ...after(client, task, result.adapter) };
    },
  };
  return { trainer, tasks };
}

const scaled = (set: TensorSet, factor: number): TensorSet =>
  tensorSet(
    [...set].map(([name, value]) => [
      name,
      float32(
        value.shape,
        Float32Array.from(floats(value), (x) => factor * x),
      ),
    ]),
  );

test(
  "a task tells how many rounds its run has, so that a trainer knows whether examples come again",
  async () => {
    const { trainer, tasks } = changed(() => ({}));
    await runToEnd({ rounds: 3, cohort, strategy: { name: "fedavg" } }, toyClients("a", "b"), { trainer });
    expect(tasks.get("a")!.map(({ rounds }) => rounds)).toEqual([3, 3, 3]);
  },
  TIMEOUT_MS,
);

test(
  "hetlora: a client whose last rows shrink trains at the lower rank from then on, the others at theirs",
  async () => {
    const { trainer, tasks } = changed((client, task) => ({
      adapter: { ...task.adapter, tensors: scaled(task.adapter.tensors, client === "a" ? 0.5 : 1.5) },
    }));
    const strategy = { name: "hetlora", keep: 0.5, leastRank: 1, lambda: 0.25 };
    const { run } = await runToEnd({ rounds: 3, cohort, strategy }, toyClients("a", "b"), { trainer });
    expect(run.stopped).toBeUndefined();
    const ranks = (client: string) => tasks.get(client)!.map(({ adapter }) => adapter.config.rank);
    expect(ranks("a")).toEqual([2, 1, 1]); // pruned after round 1, never below the least rank
    expect(ranks("b")).toEqual([2, 2, 2]);
    expect(tasks.get("b")![0]!.regularizers).toEqual({ tail: { lambda: 0.25, keep: 0.5 } });
    const { config, tensors } = tasks.get("a")![1]!.adapter;
    expect(tensors.get("base_model.model.layers.0.q_proj.lora_A.weight")!.shape).toEqual([1, 6]);
    expect(config.alpha / config.rank).toBe(2); // the toy's 4 / 2
  },
  TIMEOUT_MS,
);

test(
  "hetlora: a codec that counts from one shape is refused before round 1",
  async () => {
    const config = { rounds: 1, cohort, strategy: { name: "hetlora", preset: "paper" }, codec: "int8" };
    await expect(runToEnd(config, toyClients("a", "b"))).rejects.toThrow(
      'Cannot run strategy "hetlora": its clients prune their ranks, and codec "int8" counts from',
    );
  },
  TIMEOUT_MS,
);

test(
  "fisher: 8 bits of the logarithm travel in place of 32, are counted, and merge to nearly the same",
  async () => {
    const merged = async (wire: string) => {
      const globals: Adapter[] = [];
      const { trainer } = changed((_, __, { tensors }) => {
        const squares = [...tensors].map(
          ([name, value]) =>
            [
              name,
              float32(
                value.shape,
                Float32Array.from(floats(value), (x) => x ** 4 + 1e-4),
              ),
            ] as const,
        );
        return { extras: { fisher: tensorSet(squares) } };
      });
      const { rounds } = await runToEnd(
        { rounds: 1, cohort, strategy: { name: "fisher", wire }, evaluation: { data: "-" } },
        toyClients("a", "b"),
        {
          trainer,
          evaluate: async (adapter) => {
            globals.push(adapter);
            return {};
          },
        },
      );
      const values = [...globals[0]!.tensors.values()].flatMap((value) => [...floats(value)]);
      return { values, bytes: rounds[0]!.report["bytesUp.fisher"]! };
    };
    const [whole, coded] = [await merged("fp32"), await merged("log8")];
    expect(coded.bytes).toBeLessThan(whole.bytes);
    const spread = Math.max(...whole.values) - Math.min(...whole.values);
    for (const [i, value] of whole.values.entries()) {
      // Blocks span less than a factor of a million: each weight is right to 2.8 %, the merge to that of the spread.
      expect(Math.abs(coded.values[i]! - value)).toBeLessThan(0.028 * spread);
    }
    expect(coded.values).not.toEqual(whole.values);
  },
  TIMEOUT_MS,
);
