import fc from "fast-check";
import { expect, test } from "vitest";
import { canonicalJson, SHA256_HEX, sha256 } from "../../base/hash.ts";

test("sha256 gives the vector of FIPS 180-4 for abc", () => {
  expect(sha256("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  expect(sha256(new TextEncoder().encode("abc"))).toBe(sha256("abc"));
  expect(sha256("")).toMatch(SHA256_HEX);
});

test("canonical JSON parses back to the value", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
    }),
  );
});

test("canonical JSON does not depend on the order of keys", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
      const turned = Object.fromEntries(Object.entries(value).reverse());
      expect(canonicalJson(turned)).toBe(canonicalJson(value));
    }),
  );
});

test("canonical JSON sorts by code unit, leaves blanks and undefined members out", () => {
  expect(canonicalJson({ b: 1, a: [1, { d: undefined, c: null }], B: "x" })).toBe(
    '{"B":"x","a":[1,{"c":null}],"b":1}',
  );
});

test.each([Number.NaN, Number.POSITIVE_INFINITY, 1n, () => 1])("canonical JSON refuses %s", (value) => {
  expect(() => canonicalJson({ value })).toThrow(TypeError);
});
