/** The trainer that runs ONNX graphs: model directory and examples in, adapter out, in this process. */
import type { Adapter } from "../adapters/adapter.ts";
import { corePairs, withoutCore } from "../adapters/core.ts";
import { stackOnBase } from "../adapters/side-factors.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { FedloomError } from "../base/errors.ts";
import { canonicalJson } from "../base/hash.ts";
import { createRng } from "../base/rng.ts";
import type { Example } from "../data/example.ts";
import { openClassifier } from "./classifier.ts";
import type { Form, OpenForm } from "./form.ts";
import { freshAdapter } from "./fresh-adapter.ts";
import { type GeneratorOptions, openGenerator } from "./generator.ts";
import { hintsOf } from "./graphs.ts";
import { assertNotAborted, type Row } from "./learner.ts";
import { trainAlone, training } from "./loop.ts";
import { assertSameBase, loraSpecs, savedModules } from "./lora-specs.ts";
import { type FindPlaces, placesOf } from "./merge/places.ts";
import { baseHash } from "./models/base-hash.ts";
import { openModelDirectory, type Precision } from "./models/model-directory.ts";
import { openGraphFile } from "./onnx/edge/files.ts";
import { assertNoDropout, overBase } from "./over-base.ts";
import { overCore } from "./over-core.ts";
import { singularStart } from "./singular-init.ts";
import { planSteps } from "./steps.ts";
import { type ReadyJob, trainJobsTogether } from "./together.ts";
import type { Progress, TrainControl, Trainer, TrainJob, TrainTask } from "./trainer.ts";
import { PLAIN, throughView } from "./view.ts";

export interface OnnxTrainerOptions extends GeneratorOptions {
  /** Model directory in the hub's layout. */
  readonly model: string;
  /** Which of the directory's graphs to take; the best for training where absent. */
  readonly precision?: Precision;
  readonly clock?: Clock;
}

/** @throws FedloomError F2101 where the model directory lacks a file, F2111 where an operator has no gradient */
export async function openOnnxTrainer({
  model,
  precision,
  clock = systemClock,
  ...options
}: OnnxTrainerOptions): Promise<Trainer> {
  const directory = await openModelDirectory(model, precision);
  const hash = await baseHash(directory);
  const weights = (): FindPlaces => {
    const { vision, audio, embed, decoder } = directory.graphs;
    const { mappingOf, ...hints } = hintsOf(directory);
    const finders = [vision, audio, embed, decoder].flatMap((path) =>
      path === undefined ? [] : [placesOf(openGraphFile(path), { mapping: mappingOf(path), ...hints })],
    );
    return (name) => finders.flatMap((find) => find(name));
  };
  return directory.task === "generation"
    ? trainerOf(await openGenerator(directory, options), hash, clock, weights)
    : trainerOf(await openClassifier(directory, options), hash, clock, weights);
}

/** Examples are still being made ready: that is progress too. */
const PREPARING: Progress = {
  step: 0,
  steps: 0,
  epoch: 0,
  loss: Number.NaN,
  learningRate: 0,
  tokensPerSecond: 0,
};

/** @param weights reads the graphs once more, for adapters that start from the base's weights */
function trainerOf<R extends Row>(
  form: Form<R>,
  hash: string,
  clock: Clock,
  weights: () => FindPlaces,
): Trainer {
  const forms = openForms(form);
  const prepare = async ({ task, examples, control }: TrainJob): Promise<ReadyJob<R>> => {
    const { adapter, corrections } = task;
    assertSameBase(adapter, hash);
    const side = corrections?.base;
    if (side !== undefined) assertNoDropout(adapter);
    const cored = corePairs(adapter.tensors.keys()).length > 0;
    if (side !== undefined && cored) {
      throw new FedloomError(
        "F2138",
        "Cannot train over a base with side factors: the adapter must have no cores (lora_R)",
      );
    }
    const stacked = side && stackOnBase(adapter, side);
    const open = await forms.of(stacked ?? withoutCore(adapter), task.options.gradient_checkpointing);
    const view = stacked ? overBase(stacked) : cored ? overCore(adapter.tensors) : PLAIN;
    const rows = await rowsOf(task, examples, control);
    const learner = isRepeating(task, rows.length) ? open.repeating : open.learner;
    const own = throughView(learner, view);
    return { learner, view, rows, begin: () => training(task, rows, own, clock, control) };
  };
  const rowsOf = async (
    { options }: TrainTask,
    examples: readonly Example[],
    { signal, onProgress }: TrainControl,
  ): Promise<R[]> => {
    const rows: R[] = [];
    for (const example of examples) {
      assertNotAborted(signal, "Training");
      rows.push(await form.trainingRow(example, options.max_length));
      onProgress?.(PREPARING);
    }
    return rows;
  };
  return {
    name: "onnx",
    baseHash: hash,
    async createAdapter(request, seed) {
      const saved =
        request.modulesToSave.length === 0 ? new Map() : await form.initialValues(request.modulesToSave);
      const fresh = freshAdapter(request, form.modules, saved, hash, seed);
      return request.init === undefined ? fresh : singularStart(fresh, weights(), request.init);
    },
    async train(task, examples, control) {
      const { learner, view, begin } = await prepare({ task, examples, control });
      return trainAlone(begin(), throughView(learner, view));
    },
    trainTogether: (jobs, how) => trainJobsTogether(jobs, how, prepare),
    async predict({ adapter: given, ...task }, examples, { signal }) {
      const adapter = given && withoutCore(given);
      if (adapter !== undefined) assertSameBase(adapter, hash);
      const open = await forms.of(adapter);
      return open.predict(adapter?.tensors ?? new Map(), task, examples, signal);
    },
    async close() {
      await forms.close();
      await form.close();
    },
  };
}

/** Whether examples are met more than once, in this task or in tasks of later rounds. */
function isRepeating({ options, rounds = 1 }: TrainTask, examples: number): boolean {
  if (examples === 0) return false;
  const { epochShare, steps } = planSteps(options, examples, createRng(""));
  return rounds * steps * epochShare > 1;
}

/** What was opened, by the form of its adapters: ranks, scales and modules; values are no part of it. */
function openForms<R extends Row>(form: Form<R>) {
  const open = new Map<string, Promise<OpenForm<R>>>();
  return {
    async of(adapter: Adapter | undefined, recompute = false): Promise<OpenForm<R>> {
      const key =
        adapter === undefined
          ? "base"
          : canonicalJson([loraSpecs(adapter), savedModules(adapter), adapter.config.dropout, recompute]);
      const opening = open.get(key) ?? form.open(adapter, { recompute });
      open.set(key, opening);
      try {
        return await opening;
      } catch (error) {
        open.delete(key); // the next task may try again
        throw error;
      }
    },
    async close(): Promise<void> {
      await Promise.all([...open.values()].map(async (opening) => (await opening).close()));
      open.clear();
    },
  };
}
