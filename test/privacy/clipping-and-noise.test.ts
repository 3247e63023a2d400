import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { float32, tensorSet } from "../../adapters/tensor.ts";
import { clipFactor, nextClipNorm, normOf, updateNoiseMultiplier } from "../../privacy/clipping.ts";
import { addNoise, SECRET_BYTES, secretNoise } from "../../privacy/noise.ts";

describe("clipping", () => {
  test("takes the norm over all tensors together", () => {
    const set = tensorSet([
      ["a", float32([2], [3, 0])],
      ["b", float32([1, 1], [-4])],
    ]);
    expect(normOf(set)).toBe(5);
    expect(clipFactor(normOf(set), 1)).toBe(0.2);
    expect(clipFactor(normOf(set), 5)).toBe(1);
  });

  test("never leaves more than the clip norm, and changes nothing that is within it", () => {
    const size = fc.double({ min: 1e-12, max: 1e12, noNaN: true });
    fc.assert(
      fc.property(size, size, (norm, clipNorm) => {
        const clipped = norm * clipFactor(norm, clipNorm);
        expect(clipped).toBeLessThanOrEqual(clipNorm * (1 + Number.EPSILON));
        if (norm <= clipNorm) expect(clipped).toBe(norm);
      }),
    );
    expect(clipFactor(0, 1)).toBe(1);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, -1])("refuses a norm of %f", (norm) => {
    expect(() => clipFactor(norm, 1)).toThrow(RangeError);
  });

  test("that adapts rises where too few are within, falls where too many are, and rests at the target", () => {
    expect(nextClipNorm(2, 0.5, 0.5, 0.2)).toBe(2);
    // "C ← C · exp(−η_C (b̃ − γ))" (Andrew et al. 2021, Algorithm 1)
    expect(nextClipNorm(2, 1, 0.5, 0.2)).toBeCloseTo(2 * Math.exp(-0.1), 14);
    expect(nextClipNorm(2, 0, 0.5, 0.2)).toBeCloseTo(2 * Math.exp(0.1), 14);
  });

  test("and its count together cost as much as the noise multiplier says", () => {
    // "z_Δ = (z^−2 − (2σ_b)^−2)^−1/2" (Andrew et al. 2021, Theorem 1)
    const [z, countStd] = [1, 5];
    const updates = updateNoiseMultiplier(z, countStd);
    expect(updates ** -2 + (2 * countStd) ** -2).toBeCloseTo(z ** -2, 14);
    expect(updates).toBeGreaterThan(z);
    expect(() => updateNoiseMultiplier(1, 0.5)).toThrow("must be above 0.5");
  });
});

describe("noise", () => {
  const secret = new Uint8Array(SECRET_BYTES).fill(7);
  const draws = (count: number, ...labels: (string | number)[]) => {
    const source = secretNoise(secret, ...labels);
    return Float64Array.from({ length: count }, () => source.normal());
  };

  test("is standard normal: moments and tails of 200,000 draws", () => {
    const n = 200_000;
    const x = draws(n, "run", 1);
    const moment = (k: number) => x.reduce((sum, value) => sum + value ** k, 0) / n;
    // Five standard errors of each: those of x, x², x³, x⁴ are 1, √2, √15, √96 over √n.
    expect(Math.abs(moment(1))).toBeLessThan(5 / Math.sqrt(n));
    expect(Math.abs(moment(2) - 1)).toBeLessThan((5 * Math.SQRT2) / Math.sqrt(n));
    expect(Math.abs(moment(3))).toBeLessThan((5 * Math.sqrt(15)) / Math.sqrt(n));
    expect(Math.abs(moment(4) - 3)).toBeLessThan((5 * Math.sqrt(96)) / Math.sqrt(n));
    // P(|x| > 2) = 0.0455
    const far = x.filter((value) => Math.abs(value) > 2).length / n;
    expect(Math.abs(far - 0.0455)).toBeLessThan(5 * Math.sqrt((0.0455 * 0.9545) / n));
  });

  test("is the same after a restart, and another for another use or secret", () => {
    expect(draws(9, "run", 1, "w")).toEqual(draws(9, "run", 1, "w"));
    expect(draws(9, "run", 1, "w")).not.toEqual(draws(9, "run", 2, "w"));
    expect(draws(9, "ab", "c")).not.toEqual(draws(9, "a", "bc"));
    const other = secretNoise(new Uint8Array(SECRET_BYTES).fill(8), "run", 1, "w");
    expect(other.normal()).not.toBe(draws(1, "run", 1, "w")[0]);
  });

  test("goes on past a block of the cipher without repeating it", () => {
    const x = draws(20_000, "long");
    expect(new Set(x).size).toBe(x.length);
  });

  test("is added with its standard deviation, and leaves what it was given as it was", () => {
    const values = Float64Array.of(1, 2, 3);
    const unit = draws(3, "w");
    expect([...addNoise(values, 0.5, secretNoise(secret, "w"))]).toEqual(
      [1, 2, 3].map((v, i) => v + 0.5 * unit[i]!),
    );
    expect([...values]).toEqual([1, 2, 3]);
    expect(addNoise(values, 0, secretNoise(secret, "w"))).toEqual(values);
  });

  test.each([-1, Number.NaN, Number.POSITIVE_INFINITY])("of standard deviation %f is refused", (std) => {
    expect(() => addNoise(new Float64Array(1), std, secretNoise(secret))).toThrow(RangeError);
  });

  test("wants a secret of full length", () => {
    expect(() => secretNoise(new Uint8Array(16))).toThrow("A secret has 32 bytes, got 16");
  });
});
