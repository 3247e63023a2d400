/**
 * One pass for several clients against a step of each: on every reference model (plain and fused exports, packed
 * projections, grouped heads, q4, classifiers), with unequal numbers of rows and tokens, and with dropout.
 */
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { readPeft } from "../../../adapters/peft.ts";
import { openSafetensors } from "../../../adapters/safetensors.ts";
import { float32, sizeOf, type Tensor, tensor } from "../../../adapters/tensor.ts";
import { createRng, type Rng } from "../../../base/rng.ts";
import { loraSpecs, savedModules } from "../../../training/lora-specs.ts";
import { openGraphFile } from "../../../training/onnx/edge/files.ts";
import type { Engine, Share, StepResult } from "../../../training/onnx/engine.ts";
import { openEngine } from "../../../training/onnx/open.ts";
import { slotsFor } from "../../../training/onnx/together.ts";
import { type ModelCase, modelCases } from "../../golden/models-directory.ts";

/**
 * Times the largest absolute value of a gradient. Products of float32 are summed in another order where a batch has
 * other rows: 1e-6 to 1e-5 were seen, as between runtime and PyTorch.
 */
const GRADIENT = 1e-4;
const LOSS = 1e-4;
/** A gradient that is zero may be what hidden positions give: e^-40 = 4e-18 of a weight (score-floor.ts), times some tens. */
const NOTHING = 1e-16;

/** Sessions of several shapes are opened; on a busy machine that takes a while. */
vi.setConfig({ testTimeout: 240_000 });

const cases = modelCases(process.env.GOLDEN_MODELS ?? join(import.meta.dirname, "../../golden/models"));

describe.each(cases)("$name", (wanted) => {
  test("three clients with unequal batches get what three steps give", async () => {
    const engine = await open(wanted);
    const rng = createRng(wanted.name);
    const shares = [
      share(engine, wanted, rng.fork("a"), 1, 5),
      share(engine, wanted, rng.fork("b"), 2, 8),
      share(engine, wanted, rng.fork("c"), 1, 3),
    ];
    const together = await engine.stepTogether(shares);
    for (const [i, { batch, parameters }] of shares.entries()) {
      expectEqual(together[i]!, await engine.step(batch, parameters));
    }
    await engine.close();
  });
});

const CASE = cases.find(({ name }) => name.startsWith("smollm-tiny/"))!;

test("one client alone is a step, to the bit", async () => {
  const engine = await open(CASE);
  const only = share(engine, CASE, createRng("alone"), 2, 6);
  const [together] = await engine.stepTogether([only]);
  expect(together).toEqual(await engine.step(only.batch, only.parameters));
  await engine.close();
});

test("a client's result does not depend on who else is in the pass", async () => {
  const engine = await open(CASE);
  const rng = createRng("others");
  const mine = share(engine, CASE, rng.fork("mine"), 1, 7);
  const others = [1, 2, 3].map((rows) => share(engine, CASE, rng.fork(rows), rows, 4));
  const [alone] = await engine.stepTogether([mine]);
  for (const company of [others.slice(0, 1), others.slice(1), others]) {
    expectEqual((await engine.stepTogether([...company, mine])).at(-1)!, alone!);
  }
  await engine.close();
});

test("the gradient of the inputs comes back in each client's own rows and tokens", async () => {
  const wanted = cases.find(({ name }) => name.startsWith("smolvlm-tiny/"))!;
  const engine = await open(wanted, ["inputs_embeds"]);
  const shares = [1, 2].map((rows) => share(engine, wanted, createRng(`inputs ${rows}`), rows, 3 * rows));
  const together = await engine.stepTogether(shares);
  for (const [i, { batch, parameters }] of shares.entries()) {
    const apart = await engine.step(batch, parameters);
    const [mine, wantedOne] = [together[i]!, apart].map(
      ({ inputGradients }) => inputGradients.get("inputs_embeds")!,
    ) as [Tensor, Tensor];
    expect(mine.shape).toEqual(wantedOne.shape);
    expect(farthest(mine, wantedOne)).toBeLessThan(GRADIENT * largest(wantedOne));
  }
  await engine.close();
});

test("a mix of clients with and without a seed is taken one by one, each as it asked", async () => {
  const engine = await open(CASE);
  const dropped = share(engine, CASE, createRng("dropped"), 1, 4);
  const { seed: _, ...plain } = share(engine, CASE, createRng("plain"), 1, 4).batch;
  const shares = [dropped, { batch: plain, parameters: dropped.parameters }];
  const together = await engine.stepTogether(shares);
  expect(together[1]).toEqual(await engine.step(plain, dropped.parameters));
  await engine.close();
});

test("passes are made for few numbers of clients, with room for all and a third idle at most", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4096 }), (clients) => {
      const slots = slotsFor(clients);
      expect(slots).toBeGreaterThanOrEqual(clients);
      expect((slots - clients) / slots).toBeLessThanOrEqual(1 / 3);
      expect(slotsFor(slots)).toBe(slots);
    }),
  );
  expect(new Set(Array.from({ length: 64 }, (_, i) => slotsFor(i + 1)))).toEqual(
    new Set([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]),
  );
});

function open(wanted: ModelCase, inputGradients: string[] = []): Promise<Engine> {
  const adapter = readPeft(join(wanted.adapter, "adapter"));
  return openEngine({
    file: openGraphFile(wanted.decoder),
    lora: loraSpecs(adapter),
    saved: savedModules(adapter),
    objective: wanted.objective,
    inputGradients,
    dropout: 0.1,
    threads: 1,
  });
}

/** Random factors and a random batch, labelled at about half of its tokens. */
function share(engine: Engine, wanted: ModelCase, rng: Rng, rows: number, length: number): Share {
  const normal = (shape: readonly number[], scale: number): Tensor =>
    float32(
      shape,
      Float32Array.from({ length: sizeOf(shape) }, () => rng.normal() * scale),
    );
  const ids = (bound: number): Tensor => int64([rows, length], () => rng.below(bound));
  const inputs = new Map<string, Tensor>();
  for (const { name, shape } of engine.inputs) {
    if (name === "input_ids") inputs.set(name, ids(30));
    if (name === "inputs_embeds") inputs.set(name, normal([rows, length, shape[2] as number], 1));
    if (name === "pixel_values") {
      const [, ...picture] = referenceShape(wanted, name);
      inputs.set(name, normal([rows, ...picture], 1));
    }
  }
  const labels =
    wanted.objective === "classes"
      ? int64([rows], () => rng.below(2))
      : int64([rows, length], (i) => (i % length === 1 || rng.uniform() < 0.5 ? rng.below(30) : -100));
  const parameters = new Map(engine.parameters.map(({ name, shape }) => [name, normal(shape, 0.2)]));
  return { batch: { inputs, labels, seed: String(rng.uint32()) }, parameters };
}

function referenceShape({ reference }: ModelCase, name: string): readonly number[] {
  const file = openSafetensors(join(reference, "inputs.safetensors"));
  try {
    return file.read(name).shape;
  } finally {
    file.close();
  }
}

function int64(shape: readonly number[], value: (i: number) => number): Tensor {
  return tensor(
    "I64",
    shape,
    BigInt64Array.from({ length: sizeOf(shape) }, (_, i) => BigInt(value(i))),
  );
}

function expectEqual(got: StepResult, wanted: StepResult): void {
  expect(got.labels).toBe(wanted.labels);
  expect(Math.abs(got.lossSum - wanted.lossSum)).toBeLessThan(LOSS * wanted.lossSum);
  expect([...got.gradients.keys()]).toEqual([...wanted.gradients.keys()]);
  for (const [name, gradient] of wanted.gradients) {
    const mine = got.gradients.get(name)!;
    expect(mine.shape, name).toEqual(gradient.shape);
    expect(farthest(mine, gradient), name).toBeLessThanOrEqual(GRADIENT * largest(gradient) + NOTHING);
  }
}

const largest = ({ data }: Tensor): number =>
  (data as Float32Array).reduce((max, v) => Math.max(max, Math.abs(v)), 0);

/** Largest absolute difference; not a number where either is none. */
const farthest = (a: Tensor, b: Tensor): number =>
  (a.data as Float32Array).reduce((max, v, i) => Math.max(max, Math.abs(v - (b.data[i] as number))), 0);
