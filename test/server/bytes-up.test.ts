import { expect, test } from "vitest";
import type { Adapter } from "../../adapters/adapter.ts";
import { codecOf } from "../../adapters/codecs/index.ts";
import { encodeUpdate } from "../../adapters/encoded-update.ts";
import { formatPeftConfig } from "../../adapters/peft-config.ts";
import { float32, tensorSet } from "../../adapters/tensor.ts";
import { groupOf } from "../../aggregators/groups.ts";
import { encodeState } from "../../aggregators/state-file.ts";
import { EMPTY_STATE } from "../../aggregators/strategy.ts";
import { createRng } from "../../base/rng.ts";
import { runConfig } from "../../config/run.ts";
import { createMemoryBlobs } from "../../server/blobs/memory.ts";
import { aggregate, writeAdapter } from "../../server/work/aggregate.ts";

const filled = (rows: number, columns: number, value: number) =>
  float32([rows, columns], new Float32Array(rows * columns).fill(value));

const adapter = (value: number): Adapter => ({
  config: {
    base: "",
    rank: 2,
    alpha: 4,
    rslora: false,
    dropout: 0,
    targets: ["q_proj"],
    rankPattern: {},
    alphaPattern: {},
    modulesToSave: [],
  },
  tensors: tensorSet([
    ["base_model.model.vision_tower.q_proj.lora_A.weight", filled(2, 64, value)],
    ["base_model.model.vision_tower.q_proj.lora_B.weight", filled(64, 2, value)],
    ["base_model.model.layers.0.q_proj.lora_A.weight", filled(2, 32, value)],
    ["base_model.model.layers.0.q_proj.lora_B.weight", filled(32, 2, value)],
  ]),
});

test("a round reports the bytes of its updates as they came, by modality", async () => {
  const blobs = createMemoryBlobs();
  const handedOut = adapter(0);
  const global = await writeAdapter(blobs, handedOut);
  const record = async (codec: string) => {
    const reference = { tensors: handedOut.tensors, sha256: global.model.sha256 };
    const { pieces } = encodeUpdate(codecOf(codec), adapter(1).tensors, reference, createRng(codec));
    const files = {
      config: await blobs.put(formatPeftConfig(handedOut.config)),
      model: await blobs.put(Buffer.concat(pieces)),
    };
    return {
      adapter: files,
      extras: {},
      examples: 1,
      steps: 1,
      tokens: 0,
      touched: {},
      metrics: {},
      durationMs: 0,
    };
  };
  const { report } = await aggregate(blobs, {
    config: runConfig.parse({
      name: "bytes",
      model: "m",
      rounds: 1,
      cohort: { perRound: 2 },
      strategy: { name: "fedavg" },
    }),
    round: 1,
    global,
    state: await blobs.put(encodeState(EMPTY_STATE)),
    totalClients: 2,
    updates: [
      { client: "a", update: await record("fp32") },
      { client: "b", update: await record("int4") },
    ],
  });
  // Vision 2 x 128 numbers, the rest 2 x 64. fp32: 4 bytes each; int4: half a byte each and 4 bytes for 64 of them.
  expect(report).toMatchObject({ "bytesUp.image": 1024 + 128 + 16, "bytesUp.shared": 512 + 64 + 8 });
});

test("a tensor belongs to the modality that its name tells, else to all", () => {
  expect(groupOf("base_model.model.model.vision_tower.layers.0.fc1.lora_A.weight")).toBe("image");
  expect(groupOf("base_model.model.audio_encoder.q_proj.lora_A.weight")).toBe("audio");
  expect(groupOf("base_model.model.model.embed_tokens.weight")).toBe("text");
  expect(groupOf("base_model.model.model.layers.0.q_proj.lora_A.weight")).toBe("shared");
});
