import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { countdown } from "../../cli/replay/estimate.ts";
import type { Cell } from "../../scenarios/replay/cell.ts";
import { profileNamed } from "../../scenarios/replay/profiles.ts";
import { fedloom, start } from "./process.ts";

/** Stand-ins are drawn three times and three cells scored twice: a minute, and more on a busy machine. */
const TIMEOUT_MS = 600_000;

/** Three cells that take seconds: every test set scored by the base model. */
const CELLS = ["replay", "fedmllm", "--profile", "quick", "--cells", "*/all/zero-shot"];

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), "fedloom-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Without seconds, which differ from run to run. */
function numbersIn(out: string): unknown {
  const { records } = JSON.parse(readFileSync(join(out, "report.json"), "utf8"));
  return records.map((record: { result: object }) => ({ ...record.result, seconds: 0 }));
}

test(
  "a replay killed by SIGKILL goes on with the same command, and ends with the table of one that was left alone",
  async () => {
    const [whole, broken] = [temporary(), temporary()];
    const { code, stderr } = await fedloom(...CELLS, "--jobs", "2", "--out", whole);
    expect([code, stderr.match(/ {2}about /g)?.length]).toEqual([0, 2]);

    const running = start([...CELLS, "--jobs", "1", "--out", broken]);
    await running.until(/1\/3 {2}hateful-memes\/all\/zero-shot\/seed-0/);
    const second = await fedloom(...CELLS, "--jobs", "1", "--out", broken);
    expect([second.code, second.stderr]).toEqual([
      7,
      `Cannot replay into "${broken}": process ${running.child.pid} replays into it; wait for it, stop it, or take another --out (F6026)\n`,
    ]);
    running.child.kill("SIGKILL");
    await running.ended;

    const again = await fedloom(...CELLS, "--jobs", "1", "--out", broken);
    expect(again.code).toBe(0);
    expect(again.stderr).toMatch(/1\/3 {2}hateful-memes\/all\/zero-shot\/seed-0 .*\(kept\)/);
    expect(numbersIn(broken)).toEqual(numbersIn(whole));
  },
  TIMEOUT_MS,
);

test(
  "what is not there is refused by name, with what there is",
  async () => {
    const out = temporary();
    const profile = await fedloom("replay", "fedmllm", "--profile", "quik", "--out", out);
    expect([profile.code, profile.stderr]).toEqual([
      7,
      'Cannot replay profile "quik": known are quick, standard, full (F6022)\n',
    ]);
    const cells = await fedloom("replay", "fedmllm", "--cells", "slake/*", "--out", out);
    expect(cells.code).toBe(7);
    expect(cells.stderr).toMatch(
      /^Cannot replay cells "slake\/\*": .*datasets hateful-memes, crisis-mmd, medical/,
    );
    const benchmark = await fedloom("replay", "fedmlm");
    expect(benchmark.stderr).toMatch(/fedmlm.*fedmllm/s);
  },
  TIMEOUT_MS,
);

test(
  "--estimate measures, multiplies and runs nothing",
  async () => {
    const out = temporary();
    const { code, stdout } = await fedloom(
      "replay",
      "fedmllm",
      "--cells",
      "hateful-memes/**",
      "--estimate",
      "--json",
      "--jobs",
      "2",
      "--out",
      out,
    );
    expect(code).toBe(0);
    const estimate = JSON.parse(stdout);
    expect(estimate).toMatchObject({ schema: "fedloom.replay-estimate/1", jobs: 2 });
    expect(estimate.cells).toBeGreaterThan(5);
    expect(estimate.seconds).toBeGreaterThan(1);
    expect(() => readFileSync(join(out, "report.json"))).toThrow();
  },
  TIMEOUT_MS,
);

test("what is left of a replay follows from the seconds that cells took, by their work and among jobs", () => {
  const { cells, protocols } = profileNamed("quick");
  const alike = cells.filter(({ dataset, method }) => dataset === "hateful-memes" && method === "local");
  const [first, second, ...others] = alike as [Cell, Cell, ...Cell[]];
  const alone = countdown(alike, protocols, 1);
  expect(alone(first, undefined)).toBeNaN(); // it failed, and nothing is known yet
  expect(alone(second, 10)).toBeCloseTo(10 * others.length, 9);
  const two = countdown(alike, protocols, 2);
  expect(two(first, 10)).toBeCloseTo((10 * (alike.length - 1)) / 2, 9);
  expect(countdown([first], protocols, 2)(first, 10)).toBe(0);
});
