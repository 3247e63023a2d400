import { expect, test } from "vitest";
import { Builder } from "../../../training/onnx/builder.ts";
import { estimateMemory } from "../../../training/onnx/estimate.ts";
import { rowBucket } from "../../../training/onnx/inputs.ts";
import type { Program } from "../../../training/onnx/program.ts";
import type { Session } from "../../../training/onnx/runtime.ts";
import { keptBytes, Sessions } from "../../../training/onnx/sessions.ts";

/** A session that says when it is closed, and a program whose one value has so many MiB. */
function made(name: string, mib: number, closed: string[]): [Session, Program] {
  const builder = new Builder();
  const x = builder.input("x", "F32", [mib * 2 ** 18]);
  const y = builder.one("Neg", [x]);
  const session = {
    inputs: [],
    outputs: [],
    run: async () => new Map(),
    close: async () => void closed.push(name),
  };
  return [session, builder.program(new Map([["y", y]]))];
}

async function kept(sizes: Readonly<Record<string, number>>, most?: number) {
  const closed: string[] = [];
  const sessions = new Sessions(most);
  for (const [name, mib] of Object.entries(sizes)) await sessions.keep(name, ...made(name, mib, closed));
  return { sessions, closed };
}

test("the session that was unused for longest goes where there are too many", async () => {
  const { sessions, closed } = await kept({ a: 1, b: 1 }, 2);
  sessions.get("a");
  await sessions.keep("c", ...made("c", 1, closed));
  expect(closed).toEqual(["b"]);
  expect(sessions.get("b")).toBeUndefined();
});

test("sessions that need much memory go before their number is reached", async () => {
  // Input and result: 300 MiB each; two of them are beyond 512 MiB once a third comes.
  const { closed } = await kept({ a: 150, b: 150, c: 150 });
  expect(closed).toEqual(["a"]);
});

test("a program's memory is estimated once, whoever asks", () => {
  const [, program] = made("a", 1, []);
  expect(estimateMemory(program)).toBe(estimateMemory(program));
  expect(estimateMemory(program).activationBytes).toBe(2 * 2 ** 20);
});

test("sessions keep three times the weights, within bounds", () => {
  const mib = 2 ** 20;
  expect([5, 300, 5000].map((weights) => keptBytes(weights * mib) / mib)).toEqual([512, 900, 1536]);
});

test("rows are computed in shares of the batch: half, a quarter, down to a sixteenth", () => {
  const total = 1024;
  const sizes = new Set<number>();
  for (let count = 1; count <= total; count++) {
    const rows = rowBucket(count, total);
    expect(rows).toBeGreaterThanOrEqual(count);
    expect(rows).toBeLessThanOrEqual(Math.max(2 * count, total / 16));
    sizes.add(rows);
  }
  expect([...sizes]).toEqual([64, 128, 256, 512, 1024]);
  expect(rowBucket(3, 5)).toBe(5);
});
