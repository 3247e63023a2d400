import fc from "fast-check";
import { expect, test } from "vitest";
import { writeSafetensors } from "../../adapters/safetensors.ts";
import { decodeState, encodeState } from "../../aggregators/state-file.ts";
import { setOf } from "./small.ts";

test("any scalars come back with their bits", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.double()), (scalars) => {
      const back = decodeState(encodeState({ scalars, tensors: {} })).scalars;
      expect(Object.keys(back).sort()).toEqual(Object.keys(scalars).sort());
      for (const [name, value] of Object.entries(scalars)) expect(Object.is(back[name], value)).toBe(true);
    }),
  );
});

test("sets come back under their names, empty ones and those of clients too", () => {
  const state = {
    scalars: { t: 3 },
    tensors: {
      m: setOf({ "a.weight": [1, 2], b: [[3]] }, "F64"),
      "client:c1": setOf({ b: [[4]] }),
      v: new Map(),
    },
  };
  expect(decodeState(encodeState(state))).toEqual(state);
});

test("equal states give equal bytes, whatever order their members came in", () => {
  const one = { scalars: { a: 1, b: 2 }, tensors: { m: setOf({ x: [1] }), v: setOf({ x: [2] }) } };
  const other = { scalars: { b: 2, a: 1 }, tensors: { v: setOf({ x: [2] }), m: setOf({ x: [1] }) } };
  expect(encodeState(other)).toEqual(encodeState(one));
});

test("refuses a file that is no state", () => {
  expect(() => decodeState(writeSafetensors(setOf({ a: [1] })), "adapter.safetensors")).toThrow(
    'Cannot read "adapter.safetensors": a saved strategy state is wanted (fedloom.strategy-state.1)',
  );
});
