import { describe, expect, test } from "vitest";
import { type AdapterConfig, alphaOf, isSaved, isTarget, rankOf, scaleOf } from "../../adapters/adapter.ts";
import { factorPairs, formatName, parseName } from "../../adapters/tensor-names.ts";

const config = (over: Partial<AdapterConfig> = {}): AdapterConfig => ({
  base: "",
  rank: 4,
  alpha: 8,
  rslora: false,
  dropout: 0,
  targets: ["q_proj", "v_proj"],
  rankPattern: {},
  alphaPattern: {},
  modulesToSave: [],
  ...over,
});

const Q0 = "model.layers.0.self_attn.q_proj";
const Q1 = "model.layers.1.self_attn.q_proj";

describe("scale", () => {
  test("is alpha / r, and alpha / sqrt(r) for rsLoRA", () => {
    expect(scaleOf(config(), Q0)).toBe(2);
    expect(scaleOf(config({ rslora: true }), Q0)).toBe(4);
  });

  test("takes rank and alpha from the first pattern that ends the path", () => {
    const both = config({
      rankPattern: { "layers.1.self_attn.q_proj": 2, q_proj: 16 },
      alphaPattern: { q_proj: 32 },
    });
    expect([rankOf(both, Q0), alphaOf(both, Q0), scaleOf(both, Q0)]).toEqual([16, 32, 2]);
    expect([rankOf(both, Q1), alphaOf(both, Q1), scaleOf(both, Q1)]).toEqual([2, 32, 16]);
    expect(rankOf(both, "model.layers.1.self_attn.v_proj")).toBe(4);
  });

  test("a pattern is a regular expression that begins at a dot or at the start", () => {
    const at = config({ rankPattern: { "layers\\.0\\..*_proj": 6 } });
    expect([rankOf(at, Q0), rankOf(at, Q1)]).toEqual([6, 4]);
    expect(rankOf(config({ rankPattern: { proj: 6 } }), Q0)).toBe(4);
    expect(rankOf(config({ rankPattern: { self_attn: 6 } }), Q0)).toBe(4);
    expect(rankOf(config({ rankPattern: { head: 6 } }), "head")).toBe(6);
    expect(rankOf(config({ rankPattern: { head: 6 } }), "model.forehead")).toBe(4);
  });
});

describe("targets", () => {
  test("are suffixes that begin at a dot", () => {
    expect(isTarget(config(), Q0)).toBe(true);
    expect(isTarget(config({ targets: ["proj"] }), Q0)).toBe(false);
    expect(isTarget(config({ targets: ["self_attn"] }), Q0)).toBe(false);
    expect(isTarget(config({ targets: [Q0] }), Q0)).toBe(true);
    expect(isTarget(config({ targets: ["head"] }), "head")).toBe(true);
  });

  test("as one string are an expression that matches the whole path", () => {
    const targets = ".*layers\\.1\\.(self_attn\\.(q|o)_proj|mlp\\.up_proj)";
    expect(isTarget(config({ targets }), Q1)).toBe(true);
    expect(isTarget(config({ targets }), Q0)).toBe(false);
    expect(isTarget(config({ targets: "q_proj" }), Q0)).toBe(false);
    expect(isTarget(config({ targets: "a|.*q_proj" }), Q0)).toBe(true);
    expect(isTarget(config({ targets: "a|.*q_proj" }), `${Q0}.x`)).toBe(false);
  });

  test("are limited to the layers named, by the first number in the path", () => {
    const only1 = config({ layers: [1] });
    expect([isTarget(only1, Q0), isTarget(only1, Q1)]).toEqual([false, true]);
    expect(isTarget(only1, "model.layers.1.experts.0.q_proj")).toBe(true);
    expect(isTarget(only1, "model.layers.0.experts.1.q_proj")).toBe(false);
    expect(isTarget(only1, "model.q_proj")).toBe(false);
    const blocks = config({ layers: [1], layersPattern: ["h", "blocks"] });
    expect(isTarget(blocks, "vision.3.blocks.1.q_proj")).toBe(true);
    expect(isTarget(blocks, "vision.1.blocks.3.q_proj")).toBe(false);
    expect(isTarget(blocks, "vision.1.myblocks.1.q_proj")).toBe(false);
  });

  test("leave out what is excluded and what is saved whole", () => {
    expect(isTarget(config({ excludes: ["layers.0.self_attn.q_proj"] }), Q0)).toBe(false);
    expect(isTarget(config({ excludes: ".*\\.0\\..*" }), Q0)).toBe(false);
    expect(isTarget(config({ modulesToSave: ["self_attn"] }), Q0)).toBe(false);
    expect(isTarget(config({ modulesToSave: ["attn"] }), Q0)).toBe(true);
  });

  test("whole modules are those whose path ends with a name, as PEFT has it", () => {
    const saved = config({ modulesToSave: ["classifier"] });
    expect(isSaved(saved, "classifier")).toBe(true);
    expect(isSaved(saved, "pre_classifier")).toBe(true);
    expect(isSaved(saved, "model.classifier.dense")).toBe(true);
    expect(isSaved(saved, "classifier_norm")).toBe(false);
  });

  test.each([
    ["(?i)q_proj", '"(?" is Python syntax'],
    ["(?P<x>q)_proj", '"(?" is Python syntax'],
    [".*q_proj\\Z", '"\\Z" is Python syntax'],
    ["(q", "it is not a valid expression"],
    ["q".repeat(5000), "the limit is 4096"],
  ])("refuse %s, which would mean something else here or nothing", (targets, why) => {
    expect(() => isTarget(config({ targets }), Q0)).toThrow(why);
  });
});

describe("names", () => {
  test.each([
    ["base_model.model.lm_head.lora_A.weight", { module: "lm_head", part: "lora_A", baseLayer: false }],
    ["base_model.model.a.b.lora_B.weight", { module: "a.b", part: "lora_B", baseLayer: false }],
    ["base_model.model.e.lora_embedding_A", { module: "e", part: "lora_embedding_A", baseLayer: false }],
    ["base_model.model.e.lora_embedding_B", { module: "e", part: "lora_embedding_B", baseLayer: false }],
    ["base_model.model.e.base_layer.weight", { module: "e", part: "weight", baseLayer: true }],
    ["base_model.model.e.base_layer.bias", { module: "e", part: "bias", baseLayer: true }],
    ["base_model.model.lm_head.weight", { module: "lm_head", part: "weight", baseLayer: false }],
    ["base_model.model.norm.bias", { module: "norm", part: "bias", baseLayer: false }],
  ] as const)("%s is taken apart and put together again", (name, parts) => {
    expect(parseName(name)).toEqual(parts);
    expect(formatName(parts)).toBe(name);
  });

  test.each([
    "lm_head.lora_A.weight",
    "base_model.model.lora_A.weight",
    "base_model.model.q.lora_A.default.weight",
    "base_model.model.q.lora_magnitude_vector",
    "base_model.model.q.modules_to_save.default.weight",
    "base_model.model.q.lora_A.bias",
  ])("%s is not a tensor of an adapter that we know", (name) => {
    expect(parseName(name)).toBeUndefined();
  });

  test("factors are paired, those without a partner left out", () => {
    const names = [
      "e.lora_embedding_A",
      "e.lora_embedding_B",
      "q.lora_A.weight",
      "q.lora_B.weight",
      "v.lora_A.weight",
    ];
    expect(
      factorPairs(names.map((name) => `base_model.model.${name}`)).map(({ module, kind }) => [module, kind]),
    ).toEqual([
      ["e", "embedding"],
      ["q", "linear"],
    ]);
  });
});
