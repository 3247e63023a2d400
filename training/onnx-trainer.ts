/** The trainer that runs ONNX graphs: model directory and examples in, adapter out, in this process. */
import type { Adapter } from "../adapters/adapter.ts";
import { stackOnBase } from "../adapters/side-factors.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { canonicalJson } from "../base/hash.ts";
import { type BaseModel, type BaseModelOptions, openBaseModel } from "./base-model.ts";
import { freshAdapter } from "./fresh-adapter.ts";
import { assertNotAborted } from "./learner.ts";
import { trainLoop } from "./loop.ts";
import { assertSameBase, loraSpecs } from "./lora-specs.ts";
import { overBase } from "./over-base.ts";
import { predictAll } from "./predict.ts";
import type { TextLearner } from "./text-learner.ts";
import { type TextRow, trainingRow } from "./text-rows.ts";
import type { Progress, Trainer } from "./trainer.ts";

export interface OnnxTrainerOptions extends BaseModelOptions {
  readonly clock?: Clock;
}

/** @throws FedloomError F2101 where the model directory lacks a file, F2111 where an operator has no gradient */
export async function openOnnxTrainer({
  clock = systemClock,
  ...options
}: OnnxTrainerOptions): Promise<Trainer> {
  const model = await openBaseModel(options);
  const learners = learnersOf(model);
  return {
    name: "onnx",
    baseHash: model.hash,
    createAdapter: async (request, seed) => freshAdapter(request, model.modules, model.hash, seed),
    async train(task, examples, control) {
      assertSameBase(task.adapter, model.hash);
      const base = task.corrections?.base;
      const stacked = base && stackOnBase(task.adapter, base);
      const learner =
        stacked === undefined
          ? await learners.of(task.adapter)
          : overBase(await learners.of(stacked), stacked);
      const maker = model.rowMaker(task.options.max_length);
      const rows: TextRow[] = [];
      for (const example of examples) {
        assertNotAborted(control.signal, "Training");
        rows.push(await trainingRow(maker, example));
        control.onProgress?.(PREPARING);
      }
      return trainLoop(task, rows, learner, clock, control);
    },
    async predict(task, examples, { signal }) {
      if (task.adapter !== undefined) assertSameBase(task.adapter, model.hash);
      const learner = await learners.of(task.adapter);
      const maker = model.rowMaker(model.contextLength);
      return predictAll(
        { learner, maker, parameters: task.adapter?.tensors ?? new Map() },
        task,
        examples,
        signal,
      );
    },
    async close() {
      await learners.close();
      await model.close();
    },
  };
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

/** Learners by the form of the adapters they take: ranks, scales and modules; values are no part of it. */
function learnersOf(model: BaseModel) {
  const open = new Map<string, ReturnType<BaseModel["openLearner"]>>();
  return {
    async of(adapter: Adapter | undefined): Promise<TextLearner> {
      const form =
        adapter === undefined
          ? "base"
          : canonicalJson([loraSpecs(adapter), adapter.config.modulesToSave, adapter.config.dropout]);
      const opening = open.get(form) ?? model.openLearner(adapter);
      open.set(form, opening);
      try {
        return (await opening).learner;
      } catch (error) {
        open.delete(form); // the next task may try again
        throw error;
      }
    },
    async close(): Promise<void> {
      await Promise.all([...open.values()].map(async (opening) => (await opening).close()));
      open.clear();
    },
  };
}
