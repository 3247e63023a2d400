import fc from "fast-check";
import { expect, test } from "vitest";
import { attentionMask, labelsOf, paddedIds, paddedLength, type TextRow } from "../../training/text-rows.ts";

function row(ids: number[], answerFrom: number): TextRow {
  return {
    id: "x",
    length: ids.length,
    touched: { text: true, image: false, audio: false },
    ids: Int32Array.from(ids),
    answerFrom,
    media: [],
  };
}

const rows = [row([5, 6, 7], 2), row([8, 9], 1)];

test("padding stands on the right, without attention and without labels", () => {
  expect(paddedIds(rows, 4, 0)).toEqual({
    dtype: "I64",
    shape: [2, 4],
    data: BigInt64Array.of(5n, 6n, 7n, 0n, 8n, 9n, 0n, 0n),
  });
  expect([...attentionMask(rows, 4).data]).toEqual([1n, 1n, 1n, 0n, 1n, 1n, 0n, 0n]);
  expect([...labelsOf(rows, 4).data]).toEqual([-100n, -100n, 7n, -100n, -100n, 9n, -100n, -100n]);
});

test("lengths come in few sizes, none below what is needed or beyond the model's positions", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8192 }), (longest) => {
      const padded = paddedLength(longest, 8192);
      expect(padded).toBeGreaterThanOrEqual(longest);
      expect(padded).toBeLessThanOrEqual(Math.min(8192, Math.max(longest + 15, Math.ceil(longest * 1.25))));
    }),
  );
  const sizes = new Set(Array.from({ length: 8192 }, (_, i) => paddedLength(i + 1, 8192)));
  // 8 up to 128, then at most 8 for each doubling to 8192
  expect(sizes.size).toBeLessThanOrEqual(8 + 6 * 8);
});

test("the model's positions bound the padding", () => {
  expect(paddedLength(119, 120)).toBe(120);
});
