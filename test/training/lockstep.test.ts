import { expect, test } from "vitest";
import { ManualClock } from "../../base/clock.ts";
import { trainingOptions } from "../../config/training.ts";
import type { Learner, Portion } from "../../training/learner.ts";
import { type Member, trainInLockstep } from "../../training/lockstep.ts";
import { trainAlone, training } from "../../training/loop.ts";
import type { TrainControl, TrainResult, TrainTask } from "../../training/trainer.ts";
import { PLAIN } from "../../training/view.ts";
import { adapter, learner, type Pull, pull } from "./pull-learner.ts";

/** Unlike in everything a task can say: steps, batch, optimizer, schedule, clipping, proximal term. */
const TASKS: readonly (readonly [object, Partial<TrainTask>, number])[] = [
  [{ learning_rate: 0.1 }, {}, 5],
  [{ learning_rate: 0.05, optim: "sgd", max_grad_norm: 0.5, per_device_train_batch_size: 2 }, {}, 3],
  [{ learning_rate: 0.2, lr_scheduler_type: "cosine", warmup_ratio: 0.3, num_train_epochs: 3 }, {}, 4],
  [{ learning_rate: 0.1, gradient_accumulation_steps: 3 }, { proximal: { mu: 0.1, weight: 2 } }, 7],
  [{ learning_rate: 0.1, optim: "adafactor" }, { extras: ["fisher", "optimizer"] }, 2],
];

const taskOf = (i: number): TrainTask => {
  const [options, more] = TASKS[i]!;
  return {
    adapter,
    seed: `seed ${i}`,
    options: trainingOptions.parse({ per_device_train_batch_size: 1, ...options }),
    ...more,
  };
};
const rowsOf = (i: number): Pull[] =>
  Array.from({ length: TASKS[i]![2] }, (_, r) => pull(`t${i} r${r}`, r - 1 + i, 1 + (r % 3)));

/** Remembers how many portions each pass had. */
function counting(passes: number[]): Learner<Pull> {
  return {
    ...learner,
    async gradientsTogether(portions: readonly Portion<Pull>[]) {
      passes.push(portions.length);
      return Promise.all(portions.map(({ rows, parameters }) => learner.gradients(rows, parameters)));
    },
  };
}

interface Watched {
  readonly outcomes: Map<number, TrainResult | Error>;
  readonly begun: number[];
}

function membersOf(
  count: number,
  { outcomes, begun }: Watched,
  controlOf: (i: number) => TrainControl = () => ({}),
): Member<Pull>[] {
  return Array.from({ length: count }, (_, i) => ({
    view: PLAIN,
    begin: async () => {
      begun.push(i);
      return training(taskOf(i), rowsOf(i), learner, new ManualClock(), controlOf(i));
    },
    done: (result) => void outcomes.set(i, result),
    failed: (error) => void outcomes.set(i, error as Error),
  }));
}

const alone = (i: number): Promise<TrainResult> =>
  trainAlone(training(taskOf(i), rowsOf(i), learner, new ManualClock(), {}), learner);

test.each([1, 2, 3, 5, 9])(
  "%i side by side at most: each ends as it does alone, to the bit",
  async (atOnce) => {
    const watched: Watched = { outcomes: new Map(), begun: [] };
    const passes: number[] = [];
    await trainInLockstep(counting(passes), membersOf(TASKS.length, watched), atOnce);
    for (const i of TASKS.keys()) expect(watched.outcomes.get(i)).toEqual(await alone(i));
    expect(watched.begun).toEqual([0, 1, 2, 3, 4]);
    expect(Math.max(1, ...passes)).toBe(Math.min(atOnce, TASKS.length));
  },
);

test("where one ends, the next of the queue takes its place at once", async () => {
  const watched: Watched = { outcomes: new Map(), begun: [] };
  const passes: number[] = [];
  await trainInLockstep(counting(passes), membersOf(TASKS.length, watched), 2);
  // Micro-batches of the five: 5, 2, 12, 7, 2. Tasks 0 and 1 share 2 passes, 0 and 2 share 3, 2 and 3 share 7, 2 and 4
  // share 2, and all are done.
  expect(passes).toEqual(new Array(14).fill(2));
});

test("one that is called off or fails leaves the others as they were", async () => {
  const watched: Watched = { outcomes: new Map(), begun: [] };
  const calledOff = AbortSignal.abort(new Error("enough"));
  const members = membersOf(4, watched, (i) => (i === 2 ? { signal: calledOff } : {}));
  const broken: Member<Pull> = {
    ...members[1]!,
    begin: () => Promise.reject(new Error("no rows")),
  };
  await trainInLockstep(counting([]), [members[0]!, broken, members[2]!, members[3]!], 3);
  expect(watched.outcomes.get(1)).toMatchObject({ message: "no rows" });
  expect(watched.outcomes.get(2)).toMatchObject({ code: "F2136" });
  expect(watched.outcomes.get(0)).toEqual(await alone(0));
  expect(watched.outcomes.get(3)).toEqual(await alone(3));
});

test("a pass that fails is the failure of each in it, with the adapter as it was", async () => {
  const watched: Watched = { outcomes: new Map(), begun: [] };
  const partial: number[] = [];
  const members = membersOf(2, watched, () => ({ onPartial: (_adapter, step) => void partial.push(step) }));
  let passes = 0;
  const failing: Learner<Pull> = {
    ...learner,
    async gradientsTogether(portions) {
      if (++passes === 2) throw new Error("out of memory");
      return Promise.all(portions.map(({ rows, parameters }) => learner.gradients(rows, parameters)));
    },
  };
  await trainInLockstep(failing, members, 2);
  for (const i of [0, 1]) expect(watched.outcomes.get(i)).toMatchObject({ message: "out of memory" });
  expect(partial).toEqual([1, 1]);
});
