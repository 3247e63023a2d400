import { expect, test } from "vitest";
import { float32 } from "../../adapters/tensor.ts";
import { gradientTerms } from "../../training/gradient-terms.ts";
import type { Parameter } from "../../training/optimizers/rule.ts";

const A = "base_model.model.model.layers.0.q_proj.lora_A.weight";
const B = "base_model.model.model.layers.3.q_proj.lora_B.weight";

function parameter(name: string, shape: number[], values: number[]): Parameter {
  return { name, shape, data: Float32Array.from(values) };
}

const zeros = (parameters: readonly Parameter[]) =>
  new Map(parameters.map(({ name, data }) => [name, new Float32Array(data.length)]));

test("the proximal term pulls back to where the task began, in its layers only", () => {
  const parameters = [parameter(A, [1, 2], [1, 2]), parameter(B, [2, 1], [3, 4])];
  const add = gradientTerms({ proximal: { mu: 0.5, weight: 2, layers: [1, 3] } }, parameters);
  for (const { data } of parameters) data.fill(0); // training moved them
  const gradients = zeros(parameters);
  add(gradients, 0);
  // μ·weight·(w - w₀) = 1·(0 - w₀) in layer 3, nothing in layer 0
  expect([...gradients.get(A)!]).toEqual([0, 0]);
  expect([...gradients.get(B)!]).toEqual([-3, -4]);
});

test("a correction is added to the tensor it names", () => {
  const parameters = [parameter(A, [1, 2], [1, 2]), parameter(B, [2, 1], [3, 4])];
  const add = gradientTerms(
    { corrections: { gradient: new Map([[B, float32([2, 1], [0.5, -1])]]) } },
    parameters,
  );
  const gradients = zeros(parameters);
  add(gradients, 0);
  add(gradients, 0.5);
  expect([...gradients.get(A)!]).toEqual([0, 0]);
  expect([...gradients.get(B)!]).toEqual([1, -2]);
});

test("a correction of another shape is refused by name", () => {
  expect(() =>
    gradientTerms({ corrections: { gradient: new Map([[A, float32([3], [1, 2, 3])]]) } }, [
      parameter(A, [1, 2], [1, 2]),
    ]),
  ).toThrow(`Cannot correct the gradient of "${A}": the correction must have shape [1, 2], got [3]`);
});

test("sparsity pushes A towards 0 and leaves zeros alone", () => {
  const parameters = [parameter(A, [1, 3], [2, 0, -0.1]), parameter(B, [1, 1], [1])];
  const gradients = zeros(parameters);
  gradientTerms({ regularizers: { sparsity: { lambda: 0.25 } } }, parameters)(gradients, 0);
  expect([...gradients.get(A)!]).toEqual([0.25, 0, -0.25]);
  expect([...gradients.get(B)!]).toEqual([0]);
});

test("the sign term's gradient agrees with central differences of its value", () => {
  const sign = { weight: 0.7, gamma: [1, 5] } as const;
  const parameters = [parameter(B, [2, 2], [0.3, -0.2, 0.6, -1.1])];
  const signs = [1, -1, 1, -1];
  const add = gradientTerms({ regularizers: { sign } }, parameters);
  const { data } = parameters[0]!;
  data.set([0.25, 0.1, 0.9, -0.4]); // training moved it
  const progress = 0.3;
  const gamma = 5 + (1 - 5) * 0.5 * (1 + Math.cos(Math.PI * progress));
  const value = (b: readonly number[]): number =>
    (0.7 * Math.hypot(...b.map((x, i) => Math.tanh(gamma * x) - signs[i]!))) / (2 + 1e-6);
  const gradients = zeros(parameters);
  add(gradients, progress);
  const at = [...data];
  at.forEach((_, i) => {
    const moved = (by: number): number[] => at.map((x, j) => (i === j ? x + by : x));
    const difference = (value(moved(1e-5)) - value(moved(-1e-5))) / 2e-5;
    expect(gradients.get(B)![i]).toBeCloseTo(difference, 6); // float32 gradient of about 0.1
  });
});
