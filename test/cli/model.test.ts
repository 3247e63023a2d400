/** `fedloom model inspect` and `model check` as their users meet them: another program compares what check writes. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test, vi } from "vitest";
import { readPeft } from "../../adapters/peft.ts";
import { readSafetensors } from "../../adapters/safetensors.ts";
import { decodeModel, encodeModel } from "../../training/onnx/format/codec.ts";
import { fedloom } from "./process.ts";

/** Processes of their own that open sessions, on a machine whose cores others use. */
vi.setConfig({ testTimeout: 120_000 });

const models = join(import.meta.dirname, "../golden/models");
const folder = mkdtempSync(join(tmpdir(), "fedloom-cli-model-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("fedloom model check", () => {
  test("gives PyTorch's losses, gradients and adapter for a batch", async () => {
    const reference = join(models, "smollm-tiny/reference");
    const adapter = join(reference, "r4_a8_qkvo");
    const out = join(folder, "checked");
    const batch = ["--adapter", join(adapter, "adapter"), "--batch", join(reference, "inputs.safetensors")];
    const steps = ["--steps", "10", "--lr", "1e-3", "--weight-decay", "0.01", "--grad-inputs", "--out", out];
    const { code, stdout } = await fedloom(
      "model",
      "check",
      join(models, "smollm-tiny"),
      ...batch,
      ...steps,
      "--json",
    );
    expect(code).toBe(0);
    const wanted = JSON.parse(readFileSync(join(adapter, "result.json"), "utf8"));
    const got = JSON.parse(stdout);
    expect(got).toMatchObject({ schema: "fedloom.model-check/1", steps: 10 });
    // The tolerances of the reference's README.
    expect(Math.abs(got.loss - wanted.loss)).toBeLessThan(1e-4);
    expect(got.losses).toHaveLength(11);
    const losses = [...wanted.losses, wanted.loss_after_last_step];
    losses.forEach((loss: number, step) => {
      expect(Math.abs(got.losses[step] - loss), `step ${step}`).toBeLessThan(1e-4);
    });
    const grads = readSafetensors(readFileSync(join(adapter, "grads.safetensors")));
    const own = readSafetensors(readFileSync(join(out, "grads.safetensors")));
    expect([...own.keys()].sort()).toEqual([...grads.keys()].sort());
    for (const [name, { data }] of grads) {
      const values = data as Float32Array;
      const largest = values.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
      const error = values.reduce(
        (max, v, i) => Math.max(max, Math.abs(v - (own.get(name)!.data[i] as number))),
        0,
      );
      expect(error, name).toBeLessThanOrEqual(1e-4 * largest);
    }
    const final = readPeft(join(adapter, "final")).tensors;
    for (const [name, { data }] of readPeft(join(out, "adapter")).tensors)
      data.forEach((value, i) => {
        expect(Math.abs((value as number) - (final.get(name)!.data[i] as number)), name).toBeLessThan(1e-4);
      });
  });

  test("proves the gradients on random input where no batch is given", async () => {
    const { code, stdout } = await fedloom("model", "check", join(models, "bert-tiny-classifier"));
    expect(code).toBe(0);
    expect(stdout).toMatch(/gradients agree with central differences: relative error \S+ over 4 directions/);
  });

  test.each(["smolvlm-tiny", "llava-tiny"])(
    "proves encoder and connector of %s, each apart",
    async (name) => {
      const { code, stdout } = await fedloom("model", "check", join(models, name), "--json");
      expect(code).toBe(0);
      const { proof, parts } = JSON.parse(stdout);
      expect(proof.error).toBeLessThan(1e-3);
      const graph = "onnx/vision_encoder.onnx";
      expect(parts).toMatchObject([
        { part: "vision", graph, directions: 4 },
        { part: "connector", graph, directions: 4 },
      ]);
      // The bound that the command itself sets: float32 losses over a step.
      for (const { error } of parts) expect(error).toBeLessThan(1e-3);
    },
  );

  test("says why an encoder cannot be trained, where the decoder can", async () => {
    const directory = join(folder, "odd-encoder");
    cpSync(join(models, "smolvlm-tiny"), directory, { recursive: true });
    const path = join(directory, "onnx/vision_encoder.onnx");
    const model = decodeModel(readFileSync(path));
    const graph = model.graph!;
    const output = graph.output![0]!.name!;
    const node = graph.node!.map((each) => ({
      ...each,
      output: each.output?.map((name) => (name === output ? "before" : name)) ?? [],
    }));
    const odd = { opType: "LpNormalization", name: "/odd", input: ["before"], output: [output] };
    writeFileSync(path, encodeModel({ ...model, graph: { ...graph, node: [...node, odd] } }));
    const { code, stdout } = await fedloom("model", "check", directory);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^gradients agree/m);
    for (const part of ["vision", "connector"])
      expect(stdout).toMatch(
        new RegExp(`^${part} cannot be trained: Cannot .*LpNormalization of node "/odd"`, "m"),
      );
  });
});

describe("fedloom model inspect", () => {
  test("shows graphs, operators, what may be trained, and what a step would hold", async () => {
    const { code, stdout } = await fedloom("model", "inspect", join(models, "smolvlm-tiny"));
    expect(code).toBe(0);
    for (const graph of ["vision_encoder", "embed_tokens", "decoder_model_merged"])
      expect(stdout).toContain(`onnx/${graph}.onnx: operator set 18`);
    expect(stdout).toMatch(/a step of 1 x 128 tokens, 32 labelled, LoRA of rank 8 on all layers: about \d+/);
    expect(stdout).toMatch(/model\.layers\.0\.self_attn\.q_proj {2,}\d+/);
    expect(stdout).toContain("modulesToSave may name, beside the targets: embed_tokens");
  });

  test("writes a file of targets to edit", async () => {
    const directory = join(folder, "model");
    cpSync(join(models, "smollm-tiny-fused"), directory, { recursive: true });
    const { code } = await fedloom("model", "inspect", directory, "--write-targets");
    expect(code).toBe(0);
    const targets = JSON.parse(readFileSync(join(directory, "fedloom.targets.json"), "utf8"));
    expect(targets["onnx/model.onnx"]["model.layers.0.attn.k_proj"].slice).toEqual([64, 96]);
  });
});
