import { describe, expect, test } from "vitest";
import type { LinearModule } from "../../../../training/onnx/engine.ts";
import { matchModule, matchModules } from "../../../../training/onnx/targets/match.ts";
import { asTheModelHas } from "../../../../training/onnx/targets/packed.ts";

const modules = (...paths: string[]): LinearModule[] =>
  paths.map((path) => ({ path, in: 4, out: 6, node: path, weight: path, layout: "in_out", nodeOut: 6 }));

const LAYER = "model.layers.1";
/** What the structure of a graph names, which has no names of its own. */
const DECODER = modules(
  ...["q_proj", "k_proj", "v_proj", "o_proj"].map((name) => `${LAYER}.self_attn.${name}`),
  `${LAYER}.mlp.fc1`,
  `${LAYER}.mlp.fc2`,
);

test("of a model that sees and hears, each tower keeps its own layers", () => {
  const tower = modules("encoder.layers.0.self_attn.q_proj");
  const found = (path: string) =>
    (["pictures", "sounds", "tokens"] as const).filter(
      (reads) => matchModule(path, tower, reads) !== undefined,
    );
  expect(found("thinker.visual.blocks.0.attn.q_proj")).toEqual(["pictures"]);
  expect(found("thinker.audio_tower.layers.0.self_attn.q_proj")).toEqual(["sounds"]);
  expect(found("thinker.model.layers.0.self_attn.q_proj")).toContain("tokens");
});

test("a tower with no word for what it is does not take the decoder's layers", () => {
  const [text, other] = ["llm.model.layers.1.self_attn.q_proj", "bridge.layers.1.attention.query"] as const;
  for (const paths of [
    [text, other],
    [other, text],
  ])
    expect([...matchModules(paths, DECODER, "tokens").keys()]).toEqual([text]);
});

describe("an adapter's path finds the layer of the same role", () => {
  test.each([
    ["gpt_neox.layers.1.attention.query", "self_attn.q_proj"],
    ["transformer.h.1.attn.attention.k_proj", "self_attn.k_proj"],
    ["bert.encoder.layer.1.attention.self.value", "self_attn.v_proj"],
    ["bert.encoder.layer.1.attention.output.dense", "self_attn.o_proj"],
    ["deberta.encoder.layer.1.attention.self.query_proj", "self_attn.q_proj"],
    ["distilbert.transformer.layer.1.attention.out_lin", "self_attn.o_proj"],
    ["model.layers.1.attn.Wo", "self_attn.o_proj"],
    ["bert.encoder.layer.1.intermediate.dense", "mlp.fc1"],
    ["bert.encoder.layer.1.output.dense", "mlp.fc2"],
    ["transformer.h.1.mlp.fc_in", "mlp.fc1"],
    ["transformer.h.1.mlp.c_proj", "mlp.fc2"],
    ["model.layers.1.mlp.up_proj", "mlp.fc1"],
    ["transformer.blocks.1.ffn.down_proj", "mlp.fc2"],
  ])("%s", (path, role) => {
    expect(matchModule(path, DECODER, "tokens")?.path).toBe(`${LAYER}.${role}`);
  });
});

test("with a gate, up is not the first matrix", () => {
  const gated = modules(`${LAYER}.mlp.gate_proj`, `${LAYER}.mlp.up_proj`, `${LAYER}.mlp.down_proj`);
  expect(matchModule("layers.1.feed_forward.w1", gated, "tokens")?.path).toBe(`${LAYER}.mlp.gate_proj`);
  expect(matchModule("layers.1.feed_forward.w2", gated, "tokens")?.path).toBe(`${LAYER}.mlp.down_proj`);
  expect(matchModule("layers.1.feed_forward.w3", gated, "tokens")?.path).toBe(`${LAYER}.mlp.up_proj`);
});

test("an adapter for the whole packed matrix takes all its columns, not those of one part", () => {
  const packed = { node: "p", nodeOut: 8, packed: `${LAYER}.mlp.gate_up_proj` };
  const [gate, up] = modules(`${LAYER}.mlp.gate_proj`, `${LAYER}.mlp.up_proj`) as [
    LinearModule,
    LinearModule,
  ];
  const parts: LinearModule[] = [
    { ...gate, ...packed, out: 4, columns: [0, 4] },
    { ...up, ...packed, out: 4, columns: [4, 8] },
  ];
  for (const name of ["gate_up_proj", "Wi"])
    expect(matchModule(`model.layers.1.mlp.${name}`, parts, "tokens")).toMatchObject({ out: 8, node: "p" });
  expect(matchModule("model.layers.1.mlp.up_proj", parts, "tokens")).toMatchObject({ columns: [4, 8] });
});

test("a projection that the model has in one matrix is one target, one that an optimizer packed is three", () => {
  const part = (name: string, columns: [number, number], isWhole: boolean): LinearModule => ({
    ...modules(`${LAYER}.attn.${name}`)[0]!,
    ...{
      node: "p",
      nodeOut: 12,
      out: 4,
      columns,
      packed: `${LAYER}.attn.c_attn`,
      ...(isWhole && { isWhole }),
    },
  });
  const parts = (isWhole: boolean): LinearModule[] => [
    part("q_proj", [0, 4], isWhole),
    part("k_proj", [4, 8], isWhole),
    part("v_proj", [8, 12], isWhole),
  ];
  expect(asTheModelHas(parts(true))).toEqual([
    expect.objectContaining({ path: `${LAYER}.attn.c_attn`, in: 4, out: 12 }),
  ]);
  expect(asTheModelHas(parts(false)).map(({ path }) => path.split(".").at(-1))).toEqual([
    "q_proj",
    "k_proj",
    "v_proj",
  ]);
});

test("a module that its parent calls from a method is found without the parent's name, words for roles are not", () => {
  const inner = modules("model.layers.1.modality_router", "model.layers.1.up_proj");
  expect(matchModule("model.layers.1.altup.modality_router", inner, "tokens")).toBe(inner[0]);
  expect(matchModule("model.layers.1.mlp.experts.3.up_proj", inner, "tokens")).toBeUndefined();
  expect(matchModule("model.layers.2.altup.modality_router", inner, "tokens")).toBeUndefined();
});

test("attention over another sequence and numbered experts are never mistaken for the block's own layers", () => {
  for (const path of [
    "decoder.block.1.layer.1.EncDecAttention.q",
    "model.layers.1.encoder_attn.q_proj",
    "model.layers.1.mlp.experts.3.up_proj",
  ])
    expect(matchModule(path, DECODER, "tokens"), path).toBeUndefined();
});

test("another layer's role is no match", () => {
  expect(matchModule("model.layers.2.self_attn.q_proj", DECODER, "tokens")).toBeUndefined();
});

test("what stands behind the blocks is told apart by its number, a head by its name", () => {
  const two = modules("behind_blocks.linear_1", "behind_blocks.linear_2");
  const found = (path: string) => matchModule(path, two, "media")?.path;
  expect(found("model.multi_modal_projector.linear_1")).toBe("behind_blocks.linear_1");
  expect(found("model.multi_modal_projector.linear_2")).toBe("behind_blocks.linear_2");
  expect(found("model.visual.merger.mlp.0")).toBe("behind_blocks.linear_1");
  expect(found("model.visual.merger.mlp.2")).toBe("behind_blocks.linear_2");
  const head = modules("behind_blocks.linear_1", "behind_blocks.head");
  expect(matchModule("classifier", head, "tokens")?.path).toBe("behind_blocks.head");
  expect(matchModule("bert.pooler.dense", head, "tokens")?.path).toBe("behind_blocks.linear_1");
});

test("three layers behind the blocks are too many to guess", () => {
  const three = modules("behind_blocks.linear_1", "behind_blocks.linear_2", "behind_blocks.linear_3");
  expect(matchModule("model.connector.linear_2", three, "media")).toBeUndefined();
});
