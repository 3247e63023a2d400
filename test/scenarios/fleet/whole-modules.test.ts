/** What a run file says of its adapter beyond rank and targets, through the coordinator and a real model. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { TensorSet } from "../../../adapters/tensor.ts";
import { silentLog } from "../../../base/log.ts";
import { runConfig } from "../../../config/run.ts";
import { startFleet } from "../../../scenarios/fleet/fleet.ts";
import { firstAdapter } from "../../../scenarios/fleet/model-work.ts";
import { openOnnxTrainer } from "../../../training/onnx-trainer.ts";
import type { Trainer } from "../../../training/trainer.ts";

const MODEL = join(import.meta.dirname, "../../golden/models/smollm-tiny");
/** Opening a model and its first sessions takes a second, many times that on a machine whose cores others use. */
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let trainer: Trainer;
beforeAll(async () => {
  trainer = await openOnnxTrainer({ model: MODEL, threads: 1 });
});
afterAll(() => trainer.close());

const clients = ["a", "b"].map((id, k) => ({
  id,
  shard: {
    train: [
      {
        id,
        turns: [
          { role: "user", content: "What is it?" } as const,
          { role: "assistant", content: `It is ${k + 4}.` } as const,
        ],
        images: [],
        audios: [],
      },
    ],
    heldOut: [],
  },
}));

const config = runConfig.parse({
  name: "whole",
  model: MODEL,
  adapter: {
    rank: 4,
    alpha: 8,
    targets: ["q_proj", "v_proj"],
    rankPattern: { "layers.0.self_attn.q_proj": 2 },
    alphaPattern: { "layers.0.self_attn.q_proj": 6 },
    modulesToSave: ["model.norm"],
  },
  rounds: 2,
  cohort: { perRound: 2, quorum: 2 },
  training: { learning_rate: 1e-2 },
});

test("ranks by module and modules trained whole come from the run file", async () => {
  const fleet = await startFleet({ config, trainer, device: "cpu", log: silentLog, clients });
  try {
    await fleet.ended;
    const { run } = fleet.engine;
    expect(run.stopped).toBeUndefined();
    const file = await fleet.coordinator.parts.blobs.tensors(run.global!.model, "the adapter");
    const trained: TensorSet = new Map(file.names.map((name) => [name, file.read(name)]));
    const first = (await firstAdapter(trainer, config)).tensors;
    expect([...trained.keys()]).toEqual([...first.keys()]);
    const of = (layer: number, factor: string): string =>
      `base_model.model.model.layers.${layer}.self_attn.q_proj.lora_${factor}.weight`;
    expect(trained.get(of(0, "A"))?.shape[0]).toBe(2);
    expect(trained.get(of(1, "A"))?.shape[0]).toBe(4);
    const norm = "base_model.model.model.norm.weight";
    for (const name of [norm, of(0, "B"), of(1, "B")]) {
      expect(trained.get(name)?.data, name).not.toEqual(first.get(name)?.data);
    }
  } finally {
    await fleet.close();
  }
});

test("a module that no graph has is named", async () => {
  const wrong = { ...config, adapter: { ...config.adapter, modulesToSave: ["model.nrom"] } };
  await expect(firstAdapter(trainer, wrong)).rejects.toThrow('"model.nrom" of modulesToSave are in none');
});

test("a run file without them is the run file it was", () => {
  const { adapter } = runConfig.parse({ name: "plain", model: MODEL, rounds: 1, cohort: { perRound: 1 } });
  expect(Object.keys(adapter)).not.toContain("modulesToSave");
  expect(runConfig.parse({ ...config })).toEqual(config);
});
