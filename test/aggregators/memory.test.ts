/** What a round holds for each client beside the tensor at hand: next to nothing. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { writeSafetensors } from "../../adapters/safetensors.ts";
import { float32, tensorSet } from "../../adapters/tensor.ts";
import { collectUpdates, openUpdates } from "../../aggregators/updates.ts";
import { CONFIG } from "./small.ts";

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

function heldBytes(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

test("hundreds of open updates of 256 tensors hold less than 8 KiB each: they share the header of 37 KiB", () => {
  const CLIENTS = 300;
  const directory = mkdtempSync(join(tmpdir(), "fedloom-memory-"));
  try {
    const name = (i: number) => `base_model.model.model.layers.${i >> 3}.self_attn.${i & 7}.lora_A.weight`;
    const files = Array.from({ length: CLIENTS }, (_, k) => {
      const set = tensorSet(
        Array.from({ length: 256 }, (__, i) => [name(i), float32([1], [k + i])] as const),
      );
      const model = join(directory, `${k}.safetensors`);
      writeFileSync(model, writeSafetensors(set));
      const info = {
        client: `c${String(k).padStart(3, "0")}`,
        examples: 1,
        steps: 1,
        touched: {},
        metrics: {},
        adapter: CONFIG,
      };
      return { info, model };
    });
    const [first, ...others] = files;
    openUpdates([first!]).close(); // code and scratch
    const before = heldBytes();
    const { entries, close } = openUpdates(others);
    const updates = collectUpdates(entries);
    const held = heldBytes() - before;
    expect(updates.tensor(7, name(9))!.data[0]).toBe(8 + 9);
    close();
    expect(held / others.length).toBeLessThan(8 * 1024);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
