/** Personal parts: what does not travel stays with its client, which is evaluated with it and reported by name. */
import { expect, test } from "vitest";
import { floats } from "../../../adapters/cast.ts";
import type { TensorSet } from "../../../adapters/tensor.ts";
import type { Trainer } from "../../../training/trainer.ts";
import { createToyTrainer } from "../../toy-trainer.ts";
import { runToEnd, toyClients } from "./toy-fleet.ts";

/** A fleet of toy clients runs in well under a second; a machine with many other jobs needs more. */
const TIMEOUT_MS = 60_000;

const A = "base_model.model.layers.0.q_proj.lora_A.weight";
const B = "base_model.model.layers.1.v_proj.lora_B.weight";
const clientOf = (id: string) => id.replace(/(-held)?-\d+$/, "");

/** The toy trainer; its loss on held-out examples is the first value of a B. Keeps what each client trained and used. */
function watched() {
  const toy = createToyTrainer();
  const trained = new Map<string, TensorSet[]>();
  const used = new Map<string, TensorSet[]>();
  const keep = (all: Map<string, TensorSet[]>, client: string, set: TensorSet) =>
    all.set(client, [...(all.get(client) ?? []), set]);
  const trainer: Trainer = {
    ...toy,
    async train(task, examples, control) {
      const result = await toy.train(task, examples, control);
      keep(trained, clientOf(examples[0]!.id), result.adapter.tensors);
      return result;
    },
    async predict(task, examples) {
      const { tensors } = task.adapter!;
      keep(used, clientOf(examples[0]!.id), tensors);
      return examples.map(({ id }) => ({ id, text: "", loss: floats(tensors.get(B)!)[0]!, tokens: 1 }));
    },
  };
  return { trainer, trained, used };
}

test.each([
  ["fedsa-lora", {}],
  ["fedavg", { wrappers: [{ name: "travels", tensors: "lora_A" }] }],
])(
  "%s: each client is evaluated with its own B and the common A, and its numbers are in the round's record",
  async (name, more) => {
    const { trainer, trained, used } = watched();
    const clients = toyClients("a", "b", "c");
    const { run, rounds } = await runToEnd(
      {
        rounds: 2,
        cohort: { perRound: 3, quorum: 3 },
        strategy: { name },
        evaluation: { onClients: true, metrics: ["loss"] },
        ...more,
      },
      clients,
      { trainer },
    );
    expect(run.phase).toBe("finished");
    for (const [round, record] of rounds.entries()) {
      const own = clients.map(({ id }) => floats(trained.get(id)![round]!.get(B)!)[0]!);
      expect(new Set(own).size).toBe(3);
      expect(record.clients.map(({ client, evaluation }) => [client, evaluation])).toEqual(
        clients.map(({ id }, k) => [id, { examples: 2, metrics: { loss: own[k] } }]),
      );
      expect(record.clientMetrics.loss).toBeCloseTo((own[0]! + own[1]! + own[2]!) / 3, 12);
      const common = clients.map(({ id }) => [...floats(used.get(id)![round]!.get(A)!)]);
      expect(common[1]).toEqual(common[0]);
      expect(common[2]).toEqual(common[0]);
      expect(common[0]).not.toEqual([...floats(trained.get("a")![round]!.get(A)!)]);
    }
  },
  TIMEOUT_MS,
);

test(
  "a client whose evaluation fails has none in the record, and the others have theirs",
  async () => {
    const { trainer } = watched();
    const failing: Trainer = {
      ...trainer,
      async predict(task, examples, control) {
        if (clientOf(examples[0]!.id) === "b") throw new Error("no memory left");
        return trainer.predict(task, examples, control);
      },
    };
    const { run, rounds } = await runToEnd(
      {
        rounds: 1,
        cohort: { perRound: 2, quorum: 2 },
        strategy: { name: "fedsa-lora" },
        evaluation: { onClients: true, metrics: ["loss"] },
      },
      toyClients("a", "b"),
      { trainer: failing },
    );
    expect(run.phase).toBe("finished");
    expect(rounds[0]!.clients.map(({ evaluation }) => evaluation !== undefined)).toEqual([true, false]);
    expect(rounds[0]!.clientMetrics.loss).toBe(rounds[0]!.clients[0]!.evaluation!.metrics.loss);
  },
  TIMEOUT_MS,
);
