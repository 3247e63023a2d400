import { expect, test } from "vitest";
import { ERROR_CODES, FedloomError, isCode, messageOf } from "../../base/errors.ts";

const codes = Object.entries(ERROR_CODES);

test.each(codes)(
  "%s has a number of its family, one sentence of meaning and one of remedy",
  (code, entry) => {
    expect(code).toMatch(/^F[1-6]\d{3}$/);
    for (const sentence of [entry.meaning, entry.remedy]) expect(sentence).toMatch(/^[A-Z].*\.$/s);
  },
);

test("no two codes mean the same", () => {
  expect(new Set(codes.map(([, entry]) => entry.meaning)).size).toBe(codes.length);
});

test("an error carries its code, that code's status, what decided it and its cause", () => {
  const cause = new Error("ENOENT");
  const error = new FedloomError("F1002", "Cannot read", { file: "a" }, { cause });
  expect(error).toMatchObject({
    code: "F1002",
    status: ERROR_CODES.F1002.status,
    details: { file: "a" },
    cause,
  });
});

test("only codes of the table are codes, inherited names are not", () => {
  expect(isCode("F1001")).toBe(true);
  expect(isCode("F0000")).toBe(false);
  expect(isCode("toString")).toBe(false);
});

test("anything thrown has a message", () => {
  expect(messageOf(new Error("a"))).toBe("a");
  expect(messageOf("b")).toBe("b");
  expect(messageOf(undefined)).toBe("undefined");
});
