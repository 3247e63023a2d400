/** A coordinator with what a test needs around it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach } from "vitest";
import type { Adapter } from "../../adapters/adapter.ts";
import { float32, tensorSet } from "../../adapters/tensor.ts";
import { type Clock, systemClock } from "../../base/clock.ts";
import { silentLog } from "../../base/log.ts";
import { type RunConfig, runConfig } from "../../config/run.ts";
import { openBlobFolder } from "../../server/blobs/folder.ts";
import { createMemoryBlobs } from "../../server/blobs/memory.ts";
import { Coordinator, type CoordinatorOptions } from "../../server/coordinator.ts";
import type { RunEngine } from "../../server/engine.ts";
import { createMemoryStore } from "../../server/journal/memory.ts";
import { openSqliteStore } from "../../server/journal/sqlite.ts";
import type { ModelPort } from "../../server/ports.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** Closed after the test, the last one first. */
export function later(close: () => unknown): void {
  closers.push(close);
}

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "fedloom-test-"));
  later(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export const BASE = "b".repeat(64);

/** Two modules of different widths, so that a mix-up of shapes shows. */
export function firstAdapter(rank = 2): Adapter {
  const module = (name: string, inputs: number, outputs: number) =>
    [
      [
        `base_model.model.layers.0.${name}.lora_A.weight`,
        float32([rank, inputs], new Array(rank * inputs).fill(0.5)),
      ],
      [
        `base_model.model.layers.0.${name}.lora_B.weight`,
        float32([outputs, rank], new Array(rank * outputs).fill(0)),
      ],
    ] as const;
  return {
    config: {
      base: BASE,
      rank,
      alpha: 4,
      rslora: false,
      dropout: 0,
      targets: ["q_proj", "v_proj"],
      rankPattern: {},
      alphaPattern: {},
      modulesToSave: [],
    },
    tensors: tensorSet([...module("q_proj", 3, 5), ...module("v_proj", 4, 2)]),
  };
}

export const model: ModelPort = {
  createAdapter: async () => firstAdapter(),
  evaluate: async (_config, adapter) => ({ mean: meanOf(adapter) }),
};

/** Mean of all values, to follow a sum by. */
export function meanOf({ tensors }: Adapter): number {
  const values = [...tensors.values()].flatMap(({ data }) => Array.from(data, Number));
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

export function config(over: Record<string, unknown> = {}): RunConfig {
  return runConfig.parse({
    name: "test",
    model: "models/none",
    rounds: 3,
    cohort: { perRound: 2 },
    ...over,
  });
}

export async function coordinatorIn(
  directory: string | undefined,
  over: Partial<CoordinatorOptions> & { readonly clock?: Clock } = {},
): Promise<Coordinator> {
  const coordinator = await Coordinator.open({
    store: directory === undefined ? createMemoryStore() : openSqliteStore(directory),
    blobs: directory === undefined ? createMemoryBlobs() : await openBlobFolder(join(directory, "blobs")),
    clock: systemClock,
    log: silentLog,
    model,
    runsDirectory: directory === undefined ? undefined : join(directory, "runs"),
    ...over,
  });
  return coordinator;
}

/** Resolves when the run is in the state, which it may be already. */
export function until(engine: RunEngine, reached: (run: RunEngine["run"]) => boolean): Promise<void> {
  return new Promise((resolve) => {
    if (reached(engine.run)) return resolve();
    const stop = engine.onEvent(() => {
      if (!reached(engine.run)) return;
      stop();
      resolve();
    });
  });
}

export function finished(engine: RunEngine): Promise<void> {
  return until(engine, (run) => run.phase === "finished" || run.stopped !== undefined);
}
