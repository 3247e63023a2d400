import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { type Adapter, type AdapterConfig, isTarget, scaleOf } from "../../adapters/adapter.ts";
import { assertFits, assertSameKind, differences } from "../../adapters/compatibility.ts";
import {
  CONFIG_FILE,
  decodeAdapter,
  encodeAdapter,
  MODEL_FILE,
  readPeft,
  writePeft,
} from "../../adapters/peft.ts";
import { formatPeftConfig, MAX_CONFIG_BYTES, parsePeftConfig } from "../../adapters/peft-config.ts";
import { float32, tensor, tensorSet } from "../../adapters/tensor.ts";
import { FedloomError } from "../../base/errors.ts";

const folder = mkdtempSync(join(tmpdir(), "fedloom-peft-"));
afterAll(() => rmSync(folder, { recursive: true }));

const Q = "base_model.model.layers.0.q_proj";
const config: AdapterConfig = {
  base: "a".repeat(64),
  rank: 2,
  alpha: 4,
  rslora: false,
  dropout: 0.1,
  targets: ["q_proj"],
  rankPattern: {},
  alphaPattern: {},
  modulesToSave: [],
};
const adapter: Adapter = {
  config,
  tensors: tensorSet([
    [`${Q}.lora_A.weight`, float32([2, 3], [1, 2, 3, 4, 5, 6])],
    [`${Q}.lora_B.weight`, float32([5, 2], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])],
  ]),
};

const json = (keys: Record<string, unknown>) => Buffer.from(JSON.stringify(keys));
const PEFT = { peft_type: "LORA", r: 2, lora_alpha: 4, target_modules: ["q_proj"] };

describe("a directory", () => {
  test("holds the three files of a PEFT adapter and comes back as it was", () => {
    const directory = join(folder, "deep", "adapter");
    writePeft(directory, adapter);
    expect(readdirSync(directory).sort()).toEqual(["README.md", CONFIG_FILE, MODEL_FILE]);
    const back = readPeft(directory);
    expect(back.tensors).toEqual(adapter.tensors);
    expect(back.config).toMatchObject({ ...config, bias: "none" });
  });

  test("has, byte for byte, the configuration PEFT reads", () => {
    expect(
      Buffer.from(
        encodeAdapter({ ...adapter, config: { ...config, baseName: "org/model" } }).config,
      ).toString(),
    ).toBe(`{
  "alpha_pattern": {},
  "auto_mapping": null,
  "base_model_name_or_path": "org/model",
  "bias": "none",
  "exclude_modules": null,
  "fan_in_fan_out": false,
  "inference_mode": true,
  "init_lora_weights": true,
  "layers_pattern": null,
  "layers_to_transform": null,
  "lora_alpha": 4,
  "lora_dropout": 0.1,
  "modules_to_save": null,
  "peft_type": "LORA",
  "r": 2,
  "rank_pattern": {},
  "revision": null,
  "target_modules": [
    "q_proj"
  ],
  "task_type": "CAUSAL_LM",
  "use_dora": false,
  "use_rslora": false
}`);
  });

  test("has, byte for byte, the tensors PEFT reads, and the base's hash in their metadata", () => {
    const header =
      `{"__metadata__":{"fedloom.base":"${config.base}","format":"pt"},` +
      `"${Q}.lora_A.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},` +
      `"${Q}.lora_B.weight":{"dtype":"F32","shape":[5,2],"data_offsets":[24,64]}}`;
    const { model } = encodeAdapter(adapter);
    const padded = Math.ceil(header.length / 8) * 8;
    const expected = Buffer.alloc(8 + padded + 64, " ");
    expected.writeBigUInt64LE(BigInt(padded));
    expected.write(header, 8);
    [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10].forEach((x, i) => {
      expected.writeFloatLE(x, 8 + padded + 4 * i);
    });
    expect(Buffer.from(model).equals(expected)).toBe(true);
  });

  test("has a model card whose head names PEFT and the base model", () => {
    const directory = join(folder, "card");
    const facts = { paragraphs: ["Trained on memes."], table: { rounds: "8" } };
    writePeft(directory, { ...adapter, config: { ...config, baseName: "org/model: 7B" } }, facts);
    const [, head, body] = readFileSync(join(directory, "README.md"), "utf8").split("---\n", 3);
    expect(parse(head!)).toEqual({
      base_model: "org/model: 7B",
      library_name: "peft",
      tags: ["lora", "federated-learning", "fedloom"],
    });
    expect(body).toContain("Trained on memes.\n");
    expect(body).toContain("| rounds | 8 |");
    expect(body).toContain("| parameters | 16 |");
  });

  test("that is not there, or lacks a file, is named", () => {
    expect(() => readPeft(join(folder, "absent"))).toThrow(
      /Cannot read ".*absent.adapter_config.json" of an adapter/,
    );
    const half = join(folder, "half");
    writePeft(half, adapter);
    rmSync(join(half, MODEL_FILE));
    expect(() => readPeft(half)).toThrow(/Cannot read ".*half.adapter_model.safetensors"/);
  });

  test("with a configuration of absurd size is refused without being read", () => {
    const huge = join(folder, "huge");
    writePeft(huge, adapter);
    writeFileSync(join(huge, CONFIG_FILE), Buffer.alloc(MAX_CONFIG_BYTES + 10, " "));
    expect(() => readPeft(huge)).toThrow(`the limit is ${MAX_CONFIG_BYTES}`);
  });
});

describe("a configuration", () => {
  test("keeps keys that mean nothing to us, also when what we understand changes", () => {
    const read = parsePeftConfig(
      json({ ...PEFT, task_type: "SEQ_CLS", peft_version: "0.9", layers_to_transform: 1 }),
      "x",
    );
    expect(read.layers).toEqual([1]);
    expect(JSON.parse(Buffer.from(formatPeftConfig(read)).toString())).toEqual({
      ...PEFT,
      task_type: "SEQ_CLS",
      peft_version: "0.9",
      layers_to_transform: 1,
    });
    const changed = JSON.parse(
      Buffer.from(formatPeftConfig({ ...read, rank: 8, layers: [0, 1] })).toString(),
    );
    expect(changed).toEqual({
      ...PEFT,
      r: 8,
      task_type: "SEQ_CLS",
      peft_version: "0.9",
      layers_to_transform: [0, 1],
    });
  });

  test.each<[string, Record<string, unknown>, string]>([
    ["DoRA", { use_dora: true }, "use_dora = true"],
    ["another method", { peft_type: "IA3" }, 'peft_type "IA3"'],
    ["biases outside the targets", { bias: "all" }, 'bias = "all"'],
    ["biases of the factors", { lora_bias: true }, "lora_bias = true"],
    ["a start that changes the base", { init_lora_weights: "pissa" }, 'init_lora_weights = "pissa"'],
    ["parameters as targets", { target_parameters: ["w"] }, 'target_parameters = ["w"]'],
    ["trained tokens", { trainable_token_indices: [1] }, "trainable_token_indices = [1]"],
    ["repeated layers", { layer_replication: [[0, 2]] }, "layer_replication = [[0,2]]"],
    [
      "a head tied to an embedding that is trained",
      { ensure_weight_tying: true, modules_to_save: ["model.embed_tokens"] },
      'ensure_weight_tying = true with "embed_tokens"',
    ],
    [
      "an embedding tied to a head with factors",
      { ensure_weight_tying: true, target_modules: "(q_proj|lm_head)" },
      'ensure_weight_tying = true with "lm_head"',
    ],
    ["what PEFT may invent tomorrow", { use_xora: true }, "use_xora = true"],
  ])("with %s is refused by name", (_what, keys, named) => {
    expect(() => parsePeftConfig(json({ ...PEFT, ...keys }), "client c1")).toThrow(
      expect.objectContaining({
        code: "F3007",
        message: expect.stringContaining(`client c1: it has ${named}`),
      }),
    );
  });

  test("that ties what is not trained is read: nothing follows from it", () => {
    const keys = { ensure_weight_tying: true, target_modules: ["q_proj"], modules_to_save: ["norm"] };
    expect(parsePeftConfig(json({ ...PEFT, ...keys }), "x").modulesToSave).toEqual(["norm"]);
  });

  test.each<[string, Uint8Array, string]>([
    ["no JSON", Buffer.from("{"), "it is not JSON"],
    ["no object", Buffer.from("null"), ""],
    ["no rank", json({ ...PEFT, r: undefined }), '"r":'],
    ["rank 0", json({ ...PEFT, r: 0 }), '"r":'],
    ["an alpha below 0", json({ ...PEFT, lora_alpha: -1 }), '"lora_alpha":'],
    ["a fractional rank in a pattern", json({ ...PEFT, rank_pattern: { q: 1.5 } }), '"rank_pattern.q":'],
    ["no targets", json({ ...PEFT, target_modules: null }), '"target_modules":'],
  ])("with %s is refused", (_what, bytes, named) => {
    expect(() => parsePeftConfig(bytes, "client c1")).toThrow(
      expect.objectContaining({ code: "F3006", message: expect.stringContaining(named) }),
    );
  });
});

test("any JSON is either a configuration or refused with a FedloomError, also one key at a time", () => {
  const keys = fc.constantFrom(
    "r",
    "lora_alpha",
    "target_modules",
    "rank_pattern",
    "alpha_pattern",
    "modules_to_save",
    "layers_to_transform",
    "layers_pattern",
    "bias",
    "use_rslora",
    "exclude_modules",
    "peft_type",
    "__proto__",
    "init_lora_weights",
  );
  const parse = (bytes: Uint8Array) => {
    try {
      const read = parsePeftConfig(bytes, "client c1");
      formatPeftConfig(read);
      isTarget(read, "model.layers.0.q_proj");
      scaleOf(read, "model.layers.0.q_proj");
    } catch (error) {
      expect(error).toBeInstanceOf(FedloomError);
    }
  };
  fc.assert(fc.property(fc.json(), (text) => parse(Buffer.from(text))));
  fc.assert(
    fc.property(
      fc.dictionary(keys, fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3, noNullPrototype: true }),
      (over) => parse(json({ ...PEFT, ...over })),
    ),
    { numRuns: 500 },
  );
});

test("a directory with PyTorch's own file instead of safetensors is told how to get one", () => {
  const old = join(folder, "old");
  writePeft(old, adapter);
  renameSync(join(old, MODEL_FILE), join(old, "adapter_model.bin"));
  expect(() => readPeft(old)).toThrow(
    expect.objectContaining({ code: "F3007", message: expect.stringContaining("safe_serialization=True") }),
  );
});

describe("tensors that their configuration does not announce are refused:", () => {
  const decode = (tensors: Adapter["tensors"], over: Partial<AdapterConfig> = {}) =>
    decodeAdapter(encodeAdapter({ config: { ...config, ...over }, tensors }), "client c1");
  const a = float32([2, 3], [1, 2, 3, 4, 5, 6]);
  const b = float32([1, 2], [1, 2]);

  test.each<[string, [string, typeof a][], string]>([
    ["no tensor at all", [], "it has no tensors"],
    ["A alone", [[`${Q}.lora_A.weight`, a]], `lacks its partner "${Q}.lora_B.weight"`],
    ["B alone", [[`${Q}.lora_B.weight`, b]], `lacks its partner "${Q}.lora_A.weight"`],
    [
      "another rank",
      [
        [`${Q}.lora_A.weight`, float32([3, 1], [1, 2, 3])],
        [`${Q}.lora_B.weight`, b],
      ],
      "must have shape [2, …], got [3, 1]",
    ],
    [
      "a vector",
      [
        [`${Q}.lora_A.weight`, a],
        [`${Q}.lora_B.weight`, float32([2], [1, 2])],
      ],
      "must have shape […, 2], got [2]",
    ],
    [
      "an untargeted module",
      [
        ["base_model.model.k.lora_A.weight", a],
        ["base_model.model.k.lora_B.weight", b],
      ],
      "target_modules does not name",
    ],
    ["a whole weight", [["base_model.model.norm.weight", a]], "modules_to_save does not name"],
    [
      "integers",
      [
        [`${Q}.lora_A.weight`, tensor("I32", [2, 3], new Int32Array(6))],
        [`${Q}.lora_B.weight`, b],
      ],
      "must hold floats, got I32",
    ],
    ["a magnitude vector", [[`${Q}.lora_magnitude_vector`, a]], "of a kind that is not supported"],
    ["a name of PEFT's inner state", [[`${Q}.lora_A.default.weight`, a]], "of a kind that is not supported"],
  ])("%s", (_what, entries, message) => {
    expect(() => decode(tensorSet(entries))).toThrow(message);
  });

  test("biases are taken where the configuration says so", () => {
    const entries = [...adapter.tensors, [`${Q}.base_layer.bias`, float32([5], [1, 2, 3, 4, 5])] as const];
    expect(decode(tensorSet(entries), { bias: "lora_only" }).tensors.size).toBe(3);
  });
});

describe("compatibility", () => {
  const module = { path: "layers.0.q_proj", in: 3, out: 5 };

  test("an adapter fits the base it was made for, and one whose hash is unknown", () => {
    assertFits(adapter, { hash: config.base, modules: [module] }, "x");
    assertFits(adapter, { hash: "", modules: [module] }, "x");
  });

  test.each([
    [
      "another base",
      { hash: "b".repeat(64), modules: [module] },
      "made for base model aaaaaaaaaaaa, this is bbbbbbbbbbbb",
    ],
    ["a base without the module", { hash: "", modules: [] }, 'has no module "layers.0.q_proj"'],
    [
      "another width",
      { hash: "", modules: [{ ...module, in: 4 }] },
      "has 4 inputs and 5 outputs, the factors have 3 and 5",
    ],
  ])("%s is refused", (_what, base, message) => {
    expect(() => assertFits(adapter, base, "client c1")).toThrow(
      expect.objectContaining({ code: "F3008", message: expect.stringContaining(message) }),
    );
  });

  test.each<[Partial<AdapterConfig>, string]>([
    [{ rank: 16 }, "its rank must be 2, got 16"],
    [{ alpha: 8 }, "its alpha must be 4, got 8"],
    [{ rslora: true }, "its rslora must be false, got true"],
    [{ targets: ["v_proj"] }, 'its targets must be ["q_proj"], got ["v_proj"]'],
    [{ targets: "q_proj" }, 'its targets must be ["q_proj"], got "q_proj"'],
    [{ bias: "lora_only" }, 'its bias must be "none", got "lora_only"'],
    [{ layers: [1] }, "its layers must be [], got [1]"],
    [{ base: "b".repeat(64) }, "its base model must be"],
  ])("%j is another kind of adapter", (over, message) => {
    expect(() => assertSameKind(config, { ...config, ...over }, "client c1")).toThrow(message);
  });

  test("order of names, dropout and the base's name make no difference; what may differ is told", () => {
    const left = { ...config, targets: ["a", "b"] };
    expect(
      differences(left, { ...left, targets: ["b", "a"], dropout: 0, baseName: "x", bias: "none" }),
    ).toEqual([]);
    assertSameKind(left, { ...left, rank: 16 }, "x", { mayDiffer: ["rank"] });
  });

  test("a hostile expression is compared, not run", () => {
    const hostile = { ...config, targets: "(a+)+$".repeat(20) };
    expect(differences(config, hostile).map(({ key }) => key)).toEqual(["targets"]);
  });
});
