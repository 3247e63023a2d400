import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { embeddedModelDirectory } from "../../cli/demo/assets.ts";
import { openCellProcess } from "../../cli/replay/cell-processes.ts";
import { makeStandin } from "../../data/standins/make.ts";
import { memes } from "../../data/standins/memes.ts";
import type { Cell } from "../../scenarios/replay/cell.ts";
import type { CellRunner } from "../../scenarios/replay/cell-runner.ts";
import { type Protocol, profileNamed } from "../../scenarios/replay/profiles.ts";

/** A few steps of the embedded model in two processes: seconds, and more on a busy machine. */
const TIMEOUT_MS = 300_000;

const setting = { scenario: "missing", level: 0.5 } as const;
const cells: readonly Cell[] = [
  { dataset: "hateful-memes", setting, method: "fedavg", seed: 0 },
  { dataset: "hateful-memes", setting, method: "fedyogi+both", seed: 1 },
  { dataset: "hateful-memes", setting, method: "ownership", seed: 0 },
];
const protocol: Protocol = {
  ...profileNamed("quick").protocols["hateful-memes"],
  rounds: 2,
  localSteps: 1,
  batch: 4,
  testLimit: 8,
};

let data: string;

beforeAll(async () => {
  data = mkdtempSync(join(tmpdir(), "fedloom-"));
  const few = { ...memes, sizes: { ...memes.sizes, quick: { train: 160, test: 40 } } };
  await makeStandin(few, data, { profile: "quick", seed: 1 });
  return () => rmSync(data, { recursive: true });
}, TIMEOUT_MS);

async function open(model = embeddedModelDirectory()): Promise<CellRunner> {
  const choice = { model, device: "cpu", threads: 1 } as const;
  const runner = await openCellProcess({ choice, data, log: join(data, "log") });
  onTestFinished(() => runner.close());
  return runner;
}

test(
  "a cell's numbers, down to the adapter's hash, do not depend on the process nor on what it ran before",
  async () => {
    const run = async (order: readonly Cell[]): Promise<Map<Cell, unknown>> => {
      const runner = await open();
      const results = new Map<Cell, unknown>();
      for (const cell of order) results.set(cell, { ...(await runner.run(cell, protocol)), seconds: 0 });
      return results;
    };
    const [forth, back] = await Promise.all([run(cells), run(cells.toReversed())]);
    for (const cell of cells) expect(forth.get(cell)).toEqual(back.get(cell));
    const hashes = cells.map((cell) => (forth.get(cell) as { adapter: string }).adapter); // federated cells have one
    expect(new Set(hashes).size).toBe(cells.length);
  },
  TIMEOUT_MS,
);

test(
  "a process measures its pace, and tells an error with its code",
  async () => {
    const runner = await open();
    const pace = await runner.pace("hateful-memes", protocol);
    expect(pace.stepSeconds).toBeGreaterThan(0);
    expect(pace.evaluationSeconds).toBeGreaterThan(0);
    const absent = runner.run({ dataset: "crisis-mmd", method: "zero-shot", seed: 0 }, protocol);
    await expect(absent).rejects.toMatchObject({ code: expect.stringMatching(/^F2/) });
    expect(runner.lost?.()).toBe(false);
    await expect(open(data)).rejects.toMatchObject({ code: "F2101" });
  },
  TIMEOUT_MS,
);
