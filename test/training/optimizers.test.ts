import { describe, expect, test } from "vitest";
import type { TensorSet } from "../../adapters/tensor.ts";
import { type TrainingOptions, trainingOptions } from "../../config/training.ts";
import type { Parameter } from "../../training/optimizers/rule.ts";
import { clipGradients, createOptimizer } from "../../training/optimizers.ts";

/** Parameters are stored as float32: one rounding, of values up to 2. */
const FLOAT32 = 2 ** -23;

const options = (wanted: Partial<TrainingOptions>): TrainingOptions => trainingOptions.parse(wanted);

function parameter(name: string, shape: number[], values: number[]): Parameter {
  return { name, shape, data: Float32Array.from(values) };
}

const gradients = (values: Record<string, number[]>) =>
  new Map(Object.entries(values).map(([name, list]) => [name, Float32Array.from(list)]));

function expectNear(actual: Float32Array, wanted: readonly number[]): void {
  expect(actual.length).toBe(wanted.length);
  wanted.forEach((value, i) => {
    expect(Math.abs(actual[i]! - value), `element ${i}`).toBeLessThanOrEqual(FLOAT32);
  });
}

describe("adamw", () => {
  test("the first step moves by the learning rate against the gradient's sign, after the decay", () => {
    const a = parameter("a", [2], [1, -1]);
    const optimizer = createOptimizer(options({ optim: "adamw", weight_decay: 0.1 }), [a]);
    optimizer.step(gradients({ a: [0.5, -4] }), 0.01);
    // m / (1 - β₁) = g and √(v / (1 - β₂)) = |g|: θ (1 - 0.01·0.1) - 0.01 g / (|g| + 1e-8)
    expectNear(a.data, [0.999 - 0.01, -0.999 + 0.01]);
  });

  test("the second step mixes both gradients with bias correction", () => {
    const a = parameter("a", [1], [0]);
    const optimizer = createOptimizer(options({ optim: "adamw" }), [a]);
    optimizer.step(gradients({ a: [1] }), 0.01);
    optimizer.step(gradients({ a: [3] }), 0.01);
    // m = 0.9·0.1·1 + 0.1·3 = 0.39, /(1 - 0.81) ; v = 0.999·0.001 + 0.001·9 = 0.009999, /(1 - 0.998001)
    const second = (0.01 * (0.39 / 0.19)) / (Math.sqrt(0.009999 / 0.001999) + 1e-8);
    expectNear(a.data, [-0.01 - second]);
  });

  test("a tensor without a gradient is neither decayed nor stepped", () => {
    const a = parameter("a", [1], [1]);
    const b = parameter("b", [2], [1, 2]);
    const optimizer = createOptimizer(options({ optim: "adamw", weight_decay: 0.5 }), [a, b]);
    optimizer.step(gradients({ a: [1] }), 0.1);
    expect([...b.data]).toEqual([1, 2]);
    optimizer.step(gradients({ b: [1, 1] }), 0.1);
    // b's own first step, though the optimizer's second
    expectNear(b.data, [0.95 - 0.1, 1.9 - 0.1]);
  });

  test("an all-zero gradient is a gradient: it decays", () => {
    const a = parameter("a", [1], [1]);
    createOptimizer(options({ optim: "adamw", weight_decay: 0.5 }), [a]).step(gradients({ a: [0] }), 0.1);
    expectNear(a.data, [0.95]);
  });
});

describe("sgd", () => {
  test("adds coupled decay and keeps momentum", () => {
    const a = parameter("a", [1], [1]);
    const optimizer = createOptimizer(options({ optim: "sgd", momentum: 0.5, weight_decay: 0.1 }), [a]);
    optimizer.step(gradients({ a: [1] }), 0.1);
    // g = 1 + 0.1·1 = 1.1 ; θ = 1 - 0.11 = 0.89
    expectNear(a.data, [0.89]);
    optimizer.step(gradients({ a: [2] }), 0.1);
    // g = 2 + 0.1·0.89 = 2.089 ; b = 0.5·1.1 + 2.089 = 2.639 ; θ = 0.89 - 0.2639
    expectNear(a.data, [0.6261]);
  });
});

describe("adafactor", () => {
  test("the first step of a matrix whose squares have rank one moves by the learning rate against the sign", () => {
    // g² = (1, 4) ⊗ (1, 9, 25): R Cᵀ / mean(R) is exact, so g / √(…) = ±1 and its RMS is 1
    const a = parameter("a", [2, 3], [0, 0, 0, 0, 0, 0]);
    const optimizer = createOptimizer(options({ optim: "adafactor" }), [a]);
    optimizer.step(gradients({ a: [1, -3, 5, -2, 6, 10] }), 0.01);
    expectNear(a.data, [-0.01, 0.01, -0.01, 0.01, -0.01, -0.01]);
  });

  test("row and column means come from the squares, and updates are clipped to RMS 1", () => {
    const g = [1, 2, 3, 4];
    const a = parameter("a", [2, 2], [0, 0, 0, 0]);
    createOptimizer(options({ optim: "adafactor" }), [a]).step(gradients({ a: g }), 0.01);
    // R = ((1+4)/2, (9+16)/2) = (2.5, 12.5), mean 7.5 ; C = ((1+9)/2, (4+16)/2) = (5, 10)
    const u = g.map((value, i) => value / Math.sqrt(([2.5, 12.5][i >> 1]! / 7.5) * [5, 10][i & 1]!));
    const rms = Math.sqrt(u.reduce((sum, value) => sum + value * value, 0) / 4);
    expectNear(
      a.data,
      u.map((value) => (-0.01 * value) / Math.max(1, rms)),
    );
  });

  test("the second step of a vector mixes squares with 1 - 2^-0.8", () => {
    const a = parameter("a", [1], [0]);
    const optimizer = createOptimizer(options({ optim: "adafactor" }), [a]);
    optimizer.step(gradients({ a: [2] }), 0.01);
    optimizer.step(gradients({ a: [1] }), 0.01);
    const kept = 1 - 2 ** -0.8;
    // first step: 2 / √4 = 1 ; second: 1 / √(4 kept + 1 - kept), below 1, so not clipped
    expectNear(a.data, [-0.01 - 0.01 / Math.sqrt(4 * kept + 1 - kept)]);
  });
});

test.each(["adamw", "sgd", "adafactor"] as const)(
  "%s goes on from saved state as if it had not stopped",
  (optim) => {
    const wanted = options({ optim, momentum: 0.9, weight_decay: 0.01 });
    const make = () => [parameter("a", [2, 2], [1, 2, 3, 4]), parameter("b", [3], [1, 0, -1])];
    const steps = [
      { a: [1, -2, 3, 0.5], b: [1, 2, 3] },
      { a: [0.1, 4, -1, 2] },
      { a: [2, 1, 0, -1], b: [-1, 1, 0] },
    ];
    const whole = make();
    const undisturbed = createOptimizer(wanted, whole);
    for (const step of steps) undisturbed.step(gradients(step as Record<string, number[]>), 0.01);

    const parts = make();
    const before = createOptimizer(wanted, parts);
    before.step(gradients(steps[0] as Record<string, number[]>), 0.01);
    const after = createOptimizer(wanted, parts, before.save());
    for (const step of steps.slice(1)) after.step(gradients(step as Record<string, number[]>), 0.01);
    expect(parts).toEqual(whole);
    expect(after.save()).toEqual(undisturbed.save());
  },
);

test("state of another shape is refused by name", () => {
  const saved = createOptimizer(options({}), [parameter("a", [2], [0, 0])]).save();
  expect(() => createOptimizer(options({}), [parameter("a", [3], [0, 0, 0])], saved)).toThrow(
    'Cannot go on from the saved optimizer state: "a#exp_avg" must be F32 [3], got F32 [2]',
  );
});

describe("clipping", () => {
  test("scales all gradients to the limit of their global norm", () => {
    const both = gradients({ a: [3, 0], b: [4] });
    expect(clipGradients(both, 1)).toBe(5);
    // 1 / (5 + 1e-6), as torch
    expectNear(both.get("a")!, [3 / 5.000001, 0]);
    expectNear(both.get("b")!, [4 / 5.000001]);
  });

  test("leaves gradients below the limit as they are", () => {
    const one = gradients({ a: [0.3, 0.4] });
    clipGradients(one, 1);
    expect(one).toEqual(gradients({ a: [0.3, 0.4] }));
  });
});

describe("rows of an embedding", () => {
  const values = [1, -2, 0.5, 3, -1, 2, 0.25, -0.75];
  const table = (): Parameter => ({ ...parameter("a", [4, 2], values), table: true });
  /** Rows 1 and 2, then row 3; row 0 never. */
  const steps = [
    [0, 0, 0.5, -1, 0, 2, 0, 0],
    [0, 0, 0, 0, 0, 0, -1, 0.125],
  ];

  test.each(["adamw", "sgd", "adafactor"] as const)(
    "without a gradient keep their bits under %s",
    (optim) => {
      const a = table();
      const optimizer = createOptimizer(options({ optim, weight_decay: 0.5, momentum: 0.9 }), [a]);
      optimizer.step(gradients({ a: steps[0]! }), 0.1);
      expect([...a.data].map((v, i) => v === values[i])).toEqual([
        ...[true, true, false, false, false, false, true, true],
      ]);
      const between = [...a.data];
      optimizer.step(gradients({ a: steps[1]! }), 0.1);
      expect([...a.data].slice(0, 6)).toEqual(between.slice(0, 6)); // no momentum moves them either
      expect(a.data[6]).not.toBe(between[6]);
    },
  );

  test.each(["adamw", "sgd"] as const)(
    "with one move under %s as a tensor of just these rows does",
    (optim) => {
      const a = table();
      const own = parameter("own", [2, 2], values.slice(2, 6));
      for (const [one, gradient] of [
        [a, steps[0]!],
        [own, steps[0]!.slice(2, 6)],
      ] as const)
        createOptimizer(options({ optim, weight_decay: 0.5 }), [one]).step(
          gradients({ [one.name]: gradient }),
          0.1,
        );
      expect([...a.data].slice(2, 6)).toEqual([...own.data]);
    },
  );

  test.each(["adamw", "sgd", "adafactor"] as const)(
    "go on under %s from a state that was saved, whichever rows it has met",
    (optim) => {
      const wanted = options({ optim, weight_decay: 0.5, momentum: 0.9 });
      const [whole, parts] = [table(), table()];
      const undisturbed = createOptimizer(wanted, [whole]);
      for (const step of [...steps, ...steps]) undisturbed.step(gradients({ a: step }), 0.1);
      let state: TensorSet | undefined;
      for (const step of [...steps, ...steps]) {
        const optimizer = createOptimizer(wanted, [parts], state);
        optimizer.step(gradients({ a: step }), 0.1);
        state = optimizer.save();
      }
      expect(parts.data).toEqual(whole.data);
      expect(state).toEqual(undisturbed.save());
      for (const { shape, data } of state!.values())
        if (shape.join() === "4,2") expect([...data.slice(0, 2)]).toEqual([0, 0]);
    },
  );
});
