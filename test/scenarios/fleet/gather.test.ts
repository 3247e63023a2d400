import { expect, test } from "vitest";
import { trainingOptions } from "../../../config/training.ts";
import { gatherClients } from "../../../scenarios/fleet/gather.ts";
import type { TrainJob, TrainResult } from "../../../training/trainer.ts";
import { createToyTrainer, toyAdapter, toyExamples } from "../../toy-trainer.ts";

/** Jobs of each pass by their seeds, and how to end them. */
function setting(expected: Set<string>) {
  const passes: string[][] = [];
  const toy = createToyTrainer();
  const gathering = gatherClients(
    toy,
    (jobs: readonly TrainJob[]) => {
      passes.push(jobs.map(({ task }) => task.seed));
      return jobs.map(({ task, examples, control }) => toy.train(task, examples, control));
    },
    () => [...expected],
  );
  const train = (client: string, signal?: AbortSignal): Promise<TrainResult> => {
    const task = { adapter: toyAdapter(), options: trainingOptions.parse({}), seed: client };
    return gathering
      .of(client)
      .train(task, toyExamples(client, 2), signal === undefined ? {} : { signal })
      .finally(() => expected.delete(client)); // as the coordinator does when it has the result
  };
  return { passes, gathering, train };
}

test("clients wait until all that the round hears from are there, and go in the order of their ids", async () => {
  const { passes, train } = setting(new Set(["a", "b", "c"]));
  const results = [train("c"), train("a")];
  await Promise.resolve();
  expect(passes).toEqual([]);
  results.push(train("b"));
  await Promise.all(results);
  expect(passes).toEqual([["a", "b", "c"]]);
});

test("a client that the round gave up holds nobody", async () => {
  const expected = new Set(["a", "b", "late"]);
  const { passes, gathering, train } = setting(expected);
  const results = [train("a"), train("b")];
  expected.delete("late");
  gathering.look();
  await Promise.all(results);
  expect(passes).toEqual([["a", "b"]]);
});

test("who is called off while waiting leaves, and the others go", async () => {
  const calling = new AbortController();
  const { passes, gathering, train } = setting(new Set(["a", "b", "c"]));
  const off = train("b", calling.signal);
  const rest = [train("a"), train("c", AbortSignal.abort(new Error("never began")))];
  calling.abort(new Error("enough"));
  await expect(off).rejects.toThrow("enough");
  await expect(rest[1]).rejects.toThrow("never began");
  gathering.look();
  await rest[0];
  expect(passes).toEqual([["a"]]);
});

test("a client that comes when others train takes the next pass", async () => {
  const expected = new Set(["a"]);
  const { passes, gathering, train } = setting(expected);
  const first = train("a");
  expected.add("b");
  const second = train("b");
  await first;
  gathering.look();
  await second;
  expect(passes).toEqual([["a"], ["b"]]);
});
