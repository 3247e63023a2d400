import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { silentLog } from "../../../base/log.ts";
import { embeddedModelDirectory } from "../../../cli/demo/assets.ts";
import { makeStandin } from "../../../data/standins/make.ts";
import { memes } from "../../../data/standins/memes.ts";
import { openBenchmarkDataset } from "../../../scenarios/replay/benchmark-data.ts";
import { type Cell, cellId } from "../../../scenarios/replay/cell.ts";
import { type CellRunner, runnerHere } from "../../../scenarios/replay/cell-runner.ts";
import { profileNamed, type ReplayProfile } from "../../../scenarios/replay/profiles.ts";
import {
  type Jobs,
  prepareReplay,
  type Replayed,
  type ReplayOptions,
  replay,
} from "../../../scenarios/replay/replay.ts";
import { writeReport } from "../../../scenarios/replay/report/write.ts";
import { type CellRecord, readCell, writeCell } from "../../../scenarios/replay/result-files.ts";
import { requireRoom, roomFor } from "../../../scenarios/replay/room.ts";
import type { Trainer } from "../../../training/trainer.ts";
import { createToyTrainer, TOY_BASE } from "../../toy-trainer.ts";

/** Sixty drawn memes and a few rounds of toy training take a second or two; a busy machine needs more. */
const TIMEOUT_MS = 120_000;

const model = embeddedModelDirectory();
const aligned = { scenario: "aligned", level: 0.5 } as const;
const cells: readonly Cell[] = [
  { dataset: "hateful-memes", method: "zero-shot", seed: 0 },
  { dataset: "hateful-memes", setting: aligned, method: "local", seed: 0 },
  { dataset: "hateful-memes", setting: aligned, method: "fedavg", seed: 0 },
  { dataset: "hateful-memes", setting: aligned, method: "one-shot-mean", seed: 0 },
];
const quick = profileNamed("quick");
const profile: ReplayProfile = {
  ...quick,
  cells,
  protocols: {
    ...quick.protocols,
    "hateful-memes": { ...quick.protocols["hateful-memes"], rounds: 2, testLimit: 20 },
  },
};

let data: string;

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), "fedloom-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

beforeAll(async () => {
  data = mkdtempSync(join(tmpdir(), "fedloom-"));
  const few = { ...memes, sizes: { ...memes.sizes, quick: { train: 160, test: 40 } } };
  await makeStandin(few, data, { profile: "quick", seed: 1 });
  return () => rmSync(data, { recursive: true });
}, TIMEOUT_MS);

const plenty = { memoryBytes: 2 ** 40, diskBytes: 2 ** 40 };

/** What a test may change of a replay by toy trainers in this thread. */
type Change = Partial<ReplayOptions & Jobs> & { readonly trainer?: () => Trainer };

async function replayToy(
  out: string,
  { trainer = createToyTrainer, ...more }: Change = {},
): Promise<Replayed> {
  const options: ReplayOptions = {
    profile,
    cells: undefined,
    out,
    data,
    model,
    baseHash: TOY_BASE,
    jobs: 1,
    retry: false,
    free: plenty,
    ...more,
  };
  const prepared = await prepareReplay(options);
  const openRunner = async (): Promise<CellRunner> =>
    runnerHere({ data: prepared.data, model, device: "cpu", trainer: trainer(), log: silentLog });
  return replay(options, prepared, {
    jobs: options.jobs,
    openRunner,
    log: silentLog,
    onCell: () => {},
    ...more,
  });
}

/** The numbers of a replay, without the seconds that they took. */
function numbers(records: readonly CellRecord[]): unknown {
  return records.map((record) =>
    record.ok ? { ...record.result, seconds: 0 } : { cell: record.cell, reason: record.reason },
  );
}

/** Ids of the cells that ran, and those that were kept. */
async function ran(out: string, more: Change = {}) {
  const fresh: string[] = [];
  const kept: string[] = [];
  const { records } = await replayToy(out, {
    ...more,
    onCell(record, progress) {
      const id = cellId(record.ok ? record.result.cell : record.cell);
      (progress.fresh ? fresh : kept).push(id);
    },
  });
  return { fresh, kept, records };
}

describe("a replay", () => {
  test(
    "runs each kind of method and scores it on the test set",
    async () => {
      const { fresh, records } = await ran(temporary());
      expect(fresh).toEqual(cells.map(cellId));
      for (const record of records) {
        if (!record.ok) throw new Error(record.reason);
        // The toy trainer answers every question right: the AUC of right answers is 100.
        expect(record.result.metrics["auc-hard"]).toBe(100);
      }
      const [, local, federated, oneShot] = records.map((record) => (record.ok ? record.result : undefined));
      expect(local!.perClient).toHaveLength(10);
      expect(federated!.curve.map(({ round }) => round)).toEqual([1, 2]);
      expect(federated!.bytesUp).toBeGreaterThan(0);
      expect(oneShot!.curve.map(({ round }) => round)).toEqual([1]);
      expect(federated!.adapter).not.toBe(oneShot!.adapter);
    },
    TIMEOUT_MS,
  );

  test(
    "that stops after any cell goes on with the first that is missing, to the same table",
    async () => {
      const whole = await ran(temporary());
      const out = temporary();
      let done = 0;
      const stop = (): void => {
        if (++done === 2) throw new Error("killed");
      };
      await expect(replayToy(out, { onCell: stop })).rejects.toThrow("killed");
      // What a process killed while it wrote the third cell leaves behind.
      const half = join(out, "cells", `${cellId(cells[2]!)}.json.part`);
      mkdirSync(dirname(half), { recursive: true });
      writeFileSync(half, '{"ok": true, "fro');
      const again = await ran(out);
      expect(again.kept).toEqual(cells.slice(0, 2).map(cellId));
      expect(again.fresh).toEqual(cells.slice(2).map(cellId));
      expect(numbers(again.records)).toEqual(numbers(whole.records));
    },
    TIMEOUT_MS,
  );

  test(
    "gives the same numbers however many jobs share the cells, in the order of the profile",
    async () => {
      const one = await ran(temporary());
      const many = await ran(temporary(), { jobs: 3 });
      expect(many.records.map((record) => record.ok && cellId(record.result.cell))).toEqual(
        cells.map(cellId),
      );
      expect(numbers(many.records)).toEqual(numbers(one.records));
    },
    TIMEOUT_MS,
  );

  test(
    "opens another runner where one is lost, and records the cell that went with it",
    async () => {
      let opened = 0;
      const out = temporary();
      const openRunner = async (): Promise<CellRunner> => {
        const number = ++opened;
        const own = runnerHere({ data, model, device: "cpu", trainer: createToyTrainer(), log: silentLog });
        let lost = false;
        return {
          ...own,
          lost: () => lost,
          async run(cell, protocol) {
            lost = number === 1 && cell.method === "local";
            if (lost) throw new Error("its process ended");
            return own.run(cell, protocol);
          },
        };
      };
      const { records } = await ran(out, { openRunner });
      expect(records.map(({ ok }) => ok)).toEqual([true, false, true, true]);
      expect(opened).toBe(2);
    },
    TIMEOUT_MS,
  );

  test(
    "writes down why a cell failed and goes on; --retry runs it again",
    async () => {
      const toy = createToyTrainer();
      const broken: Trainer = {
        ...toy,
        train: async () => {
          throw new Error("out of magic");
        },
      };
      const out = temporary();
      const first = await ran(out, { trainer: () => broken });
      expect(first.records.map(({ ok }) => ok)).toEqual([true, false, false, false]);
      expect(first.records[1]).toMatchObject({ ok: false, reason: "out of magic" });
      expect((await ran(out)).fresh).toEqual([]);
      const retried = await ran(out, { retry: true });
      expect(retried.fresh).toEqual(cells.slice(1).map(cellId));
      expect(retried.records.every(({ ok }) => ok)).toBe(true);
    },
    TIMEOUT_MS,
  );

  test(
    "does not take cells of another model or of other data for its own",
    async () => {
      const out = temporary();
      const only = { cells: "**/zero-shot" };
      await ran(out, only);
      expect((await ran(out, only)).fresh).toEqual([]);
      expect((await ran(out, { ...only, baseHash: "8".repeat(64) })).fresh).toHaveLength(1);
      const few = { ...memes, sizes: { ...memes.sizes, quick: { train: 160, test: 40 } } };
      const elsewhere = temporary();
      await makeStandin(few, elsewhere, { profile: "quick", seed: 2 });
      await ran(out, only);
      expect((await ran(out, { ...only, data: elsewhere })).fresh).toHaveLength(1);
    },
    TIMEOUT_MS,
  );

  test(
    "ends with a report in four files, whose pictures need nothing from anywhere either",
    async () => {
      const out = temporary();
      const replayed = await replayToy(out, { cells: "**/fedavg" });
      const facts = {
        profile,
        replayed,
        model: "toy",
        baseModel: TOY_BASE,
        drawn: false,
        jobs: 1,
        threads: 1,
      };
      await writeReport(out, { ...facts, command: "fedloom replay fedmllm", version: "0" });
      const read = (name: string): string => readFileSync(join(out, name), "utf8");
      const html = read("report.html");
      expect(html).toContain("Who held what");
      expect(html).not.toMatch(/<script|<link|<img|@import|\b(src|href)\s*=/i);
      expect(html.replaceAll("http://www.w3.org/2000/svg", "")).not.toMatch(/https?:/i);
      expect(read("report.md")).toContain("| FedAvg | 100.0 |");
      expect(read("report.csv")).toContain("hateful-memes,aligned-0.5,fedavg,0,,auc-hard,100\n");
      expect(JSON.parse(read("report.json")).records).toEqual(replayed.records);
    },
    TIMEOUT_MS,
  );

  test("refuses data that is not there, and says of a dataset that is absent which file it wants", async () => {
    const out = temporary();
    await expect(replayToy(out, { data: join(out, "none") })).rejects.toThrow(/no such directory/);
    const { records } = await ran(out, { data: temporary(), cells: "**/zero-shot" });
    expect(records[0]).toMatchObject({ ok: false, reason: expect.stringContaining("hateful_memes") });
  });

  test("with too little memory or disk is refused before anything is drawn, with both numbers", async () => {
    const out = temporary();
    const free = { memoryBytes: 100 * 2 ** 20, diskBytes: 3 * 2 ** 20 };
    const refusal = replayToy(out, { data: undefined, free });
    await expect(refusal).rejects.toThrow(
      expect.objectContaining({
        code: "F6024",
        message: expect.stringMatching(
          /^Cannot replay: about \d+ MiB of memory are wanted, 100 MiB are free; about \d+ MiB of disk are wanted, 3 MiB are free$/,
        ),
      }),
    );
    expect(existsSync(join(out, "data"))).toBe(false);
  });
});

test("the room grows with weights, cells and stand-ins", async () => {
  const of = (name: string, drawn: boolean, count = 10) =>
    roomFor({ profile: profileNamed(name), cells: count, model, drawn, jobs: 1 });
  const [small, large, given, more] = [
    await of("quick", true),
    await of("full", true),
    await of("full", false),
    await of("full", false, 1000),
  ];
  expect(large.diskBytes).toBeGreaterThan(small.diskBytes);
  expect(given.diskBytes).toBeLessThan(large.diskBytes);
  expect(more.diskBytes).toBeGreaterThan(given.diskBytes);
  expect(() => requireRoom(small, small)).not.toThrow();
  expect(() => requireRoom(small, { ...small, memoryBytes: small.memoryBytes - 1 })).toThrow(/of memory/);
});

describe("a cell's file", () => {
  const [cell] = cells as [Cell];
  const record: CellRecord = { ok: false, frozen: "a", cell, reason: "why" };

  test("comes back as it was written", () => {
    const out = temporary();
    expect(readCell(out, cell, "a")).toBeUndefined();
    writeCell(out, cell, record);
    expect(readCell(out, cell, "a")).toEqual(record);
    writeCell(out, cell, { ...record, reason: "another" });
    expect(readCell(out, cell, "a")).toEqual({ ...record, reason: "another" });
  });

  test("of another frozen section does not count", () => {
    const out = temporary();
    writeCell(out, cell, record);
    expect(readCell(out, cell, "b")).toBeUndefined();
  });

  test.each(["", '{"ok":false,"fro'])("that a power loss left as %j does not count", (left) => {
    const out = temporary();
    writeCell(out, cell, record);
    writeFileSync(join(out, "cells", `${cellId(cell)}.json`), left);
    expect(readCell(out, cell, "a")).toBeUndefined();
  });
});

describe("a benchmark's dataset", () => {
  test("gives a trainer the same test examples each time, at most as many as asked for", async () => {
    const dataset = await openBenchmarkDataset("hateful-memes", data, 12);
    const test = dataset.test("standard");
    expect(test).toHaveLength(12);
    expect(dataset.test("standard")).toBe(test);
    expect(dataset.test("modality-agnostic")[0]).not.toBe(test[0]);
  });

  test("scores in per cent, with the recall of each class", async () => {
    const dataset = await openBenchmarkDataset("hateful-memes", data, 20);
    const test = dataset.test("standard");
    const right = test.map(({ id, turns }) => ({ id, text: turns.at(-1)!.content }));
    const all = dataset.score(test, right);
    expect([all["auc-hard"], all.accuracy]).toEqual([100, 100]);
    // Always the first option: all of its class right, none of the other, and an AUC of one half.
    const first = dataset.score(
      test,
      right.map(({ id }) => ({ id, text: test[0]!.options![0]! })),
    );
    expect(first["auc-hard"]).toBe(50);
    const recalls = Object.entries(first).filter(([name]) => name.startsWith("recall:"));
    expect(recalls.map(([, value]) => value).sort()).toEqual([0, 100]);
  });

  test("has the benchmark's ten clients, each with examples and all of them dealt once", async () => {
    const dataset = await openBenchmarkDataset("hateful-memes", data, 20);
    const clients = dataset.clients(dataset.plan(aligned));
    expect(clients).toHaveLength(10);
    const ids = clients.flatMap(({ shard }) => shard.train.map(({ id }) => id));
    expect(ids.sort()).toEqual(dataset.train.map(({ id }) => id).sort());
  });
});
