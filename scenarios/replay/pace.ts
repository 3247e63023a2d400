/** How long cells take: what one is made of, and what a step and a scored example take on this machine. */
import { firstAdapter } from "../fleet/model-work.ts";
import { type Method, methodNamed } from "./methods.ts";
import type { Protocol } from "./profiles.ts";
import { type CellTools, configOf, epochStepsOf, evaluatedRounds, predictions } from "./run-cell.ts";

export interface CellWork {
  /** Optimizer steps. */
  readonly steps: number;
  /** Times that the test set is scored. */
  readonly evaluations: number;
}

/** @param epochSteps what a protocol's "epoch" is in steps */
export function workOf({ kind, oneShot }: Method, protocol: Protocol, epochSteps: number): CellWork {
  const { rounds, perRound, localSteps, clients, lastRounds } = protocol;
  const steps = rounds * perRound * (localSteps === "epoch" ? epochSteps : localSteps);
  switch (kind) {
    case "zero-shot":
      return { steps: 0, evaluations: 1 };
    case "centralized":
      return { steps, evaluations: 1 };
    case "local":
      return { steps: Math.ceil(steps / clients) * clients, evaluations: clients };
    case "federated":
      return { steps, evaluations: evaluatedRounds(oneShot ? 1 : rounds, lastRounds).size };
    default:
      return kind satisfies never;
  }
}

/** Of one dataset under its protocol. */
export interface Pace {
  readonly stepSeconds: number;
  /** Of the whole test set, scored once. */
  readonly evaluationSeconds: number;
  /** Steps of a client that goes once through its examples, on average. */
  readonly epochSteps: number;
}

export function secondsOf(method: Method, protocol: Protocol, pace: Pace): number {
  const { steps, evaluations } = workOf(method, protocol, pace.epochSteps);
  return steps * pace.stepSeconds + evaluations * pace.evaluationSeconds;
}

/** Steps timed after one that opens sessions. */
const STEPS = 3;
/** Test examples timed at most. */
const EXAMPLES = 32;

/** Trains a few steps on the first examples and scores a few test examples; nothing is kept. */
export async function measurePace(tools: CellTools): Promise<Pace> {
  const { dataset, protocol, trainer, clock } = tools;
  const method = methodNamed("fedavg");
  const config = configOf({ dataset: dataset.name, method: method.name, seed: 0 }, method, tools);
  const adapter = await firstAdapter(trainer, config);
  const train = dataset.train.slice(0, protocol.batch);
  const test = dataset.test("standard");
  const some = test.slice(0, EXAMPLES);
  const steps = (count: number) => {
    const options = { ...config.training, max_steps: count };
    return trainer.train({ adapter, options, seed: "pace" }, train, {});
  };
  const timed = async (work: () => Promise<unknown>): Promise<number> => {
    const startedMs = clock.monotonic();
    await work();
    return (clock.monotonic() - startedMs) / 1000;
  };
  await steps(1);
  const stepSeconds = (await timed(() => steps(STEPS))) / STEPS;
  await predictions(trainer, adapter, some);
  const scored = await timed(() => predictions(trainer, adapter, some));
  return {
    stepSeconds,
    evaluationSeconds: (scored / some.length) * test.length,
    epochSteps: epochStepsOf(tools),
  };
}
