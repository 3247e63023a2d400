import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { float32, tensorSet } from "../../adapters/tensor.ts";
import {
  createMemoryTensors,
  type LocalTensors,
  openDiskTensors,
  splitTravelling,
  withPersonal,
} from "../../client/local-tensors.ts";

const STORES: [string, () => LocalTensors][] = [
  [
    "on disk",
    () => {
      const directory = mkdtempSync(join(tmpdir(), "fedloom-"));
      onTestFinished(() => rmSync(directory, { recursive: true }));
      return openDiskTensors(directory);
    },
  ],
  ["in memory", createMemoryTensors],
];

const of = (value: number) => tensorSet([["head.weight", float32([1, 2], [value, -value])]]);

test.each(STORES)("personal tensors %s: a round starts from the latest before it", (_, open) => {
  const personal = open();
  expect(personal.before("personal", "run", 1)).toBeUndefined();
  personal.save("personal", "run", 1, of(1));
  personal.save("personal", "run", 4, of(4));
  expect(personal.before("personal", "run", 1)).toBeUndefined();
  expect(personal.before("personal", "run", 4)).toEqual(of(1));
  expect(personal.before("personal", "run", 5)).toEqual(of(4));
  // Round 4 again, after a crash: it starts where it started before.
  personal.save("personal", "run", 4, of(44));
  expect(personal.before("personal", "run", 4)).toEqual(of(1));
  expect(personal.before("personal", "other", 9)).toBeUndefined();
});

test.each(STORES)("personal tensors %s: two rounds are kept", (_, open) => {
  const personal = open();
  for (const round of [9, 10, 11]) personal.save("personal", "run", round, of(round));
  expect(personal.before("personal", "run", 10)).toBeUndefined();
  expect(personal.before("personal", "run", 11)).toEqual(of(10));
});

test("a run's id cannot name a file elsewhere", () => {
  const directory = mkdtempSync(join(tmpdir(), "fedloom-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const personal = openDiskTensors(join(directory, "personal"));
  personal.save("personal", "../../escape", 1, of(1));
  expect(personal.before("personal", "../../escape", 2)).toEqual(of(1));
  expect(() => rmSync(join(directory, "escape"))).toThrow();
});

test("what travels and what stays make up the whole, and come together again", () => {
  const tensors = tensorSet([
    ["a.lora_A.weight", float32([1], [1])],
    ["a.lora_B.weight", float32([2], [2, 3])],
  ]);
  const { travelling, staying } = splitTravelling(tensors, "lora_A");
  expect([...travelling.keys()]).toEqual(["a.lora_A.weight"]);
  expect([...staying.keys()]).toEqual(["a.lora_B.weight"]);
  expect(splitTravelling(tensors, undefined).travelling).toEqual(tensors);
  const other = tensorSet([
    ["a.lora_A.weight", float32([1], [9])],
    ["a.lora_B.weight", float32([2], [0, 0])],
  ]);
  expect(withPersonal(other, staying).get("a.lora_A.weight")!.data).toEqual(Float32Array.of(9));
  expect(withPersonal(other, staying).get("a.lora_B.weight")!.data).toEqual(Float32Array.of(2, 3));
});
