/** What a run file asks for and this version does not have is refused by name and place, never passed over. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { loadRunFile } from "../../cli/run-file.ts";

const folder = mkdtempSync(join(tmpdir(), "fedloom-run-file-"));
afterAll(() => rmSync(folder, { recursive: true }));

function runFile(...lines: readonly string[]): Promise<unknown> {
  const file = join(folder, "run.yaml");
  writeFileSync(file, ["name: r", "model: m", "rounds: 2", ...lines, ""].join("\n"));
  return loadRunFile(file);
}

test.each(["fedavg", "krum"])("a run of %s that asks for secure aggregation is refused", async (name) => {
  await expect(
    runFile("cohort: { perRound: 7 }", `strategy: { name: ${name} }`, "secureAggregation: true"),
  ).rejects.toMatchObject({
    code: "F1001",
    message: expect.stringMatching(/run\.yaml:6:1: unknown key "secureAggregation"/),
  });
});

test("an asynchronous run takes strategies that take stale updates, and no others", async () => {
  const cohort = "cohort: { mode: async, concurrency: 4, buffer: 10 }";
  await expect(runFile(cohort, "strategy: { name: fedbuff }")).resolves.toMatchObject({
    config: { cohort: { mode: "async", buffer: 10 } },
  });
  await expect(runFile(cohort, "strategy: { name: fedavg }")).rejects.toMatchObject({
    code: "F3112",
    message: 'Cannot run strategy "fedavg": it takes only updates of the current round',
  });
});

test("what belongs to the other kind of run is refused at its place", async () => {
  await expect(
    runFile("cohort: { perRound: 2, mode: async }", "strategy: { name: fedbuff }"),
  ).rejects.toMatchObject({
    code: "F1001",
    message: expect.stringMatching(/run\.yaml:4:\d+: unknown key "perRound" in "cohort"/),
  });
  await expect(runFile("cohort: { perRound: 2, buffer: 3 }")).rejects.toMatchObject({
    code: "F1001",
    message: expect.stringMatching(/run\.yaml:4:\d+: unknown key "buffer" in "cohort"/),
  });
  await expect(runFile("cohort: { perRound: 2, mode: later }")).rejects.toMatchObject({
    code: "F1001",
    message: expect.stringContaining("sync"),
  });
});

test("a quorum below what the strategy needs is refused with both numbers", async () => {
  await expect(runFile("cohort: { perRound: 4 }", "strategy: { name: krum }")).rejects.toMatchObject({
    code: "F3103",
    message: 'Cannot run strategy "krum": it needs at least 5 updates a round, got a quorum of 2',
  });
});
