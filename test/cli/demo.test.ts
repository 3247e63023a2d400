import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readPeft } from "../../adapters/peft.ts";
import { fedloom, start } from "./process.ts";

/** Five processes start here and train; beside other tests on two cores that has taken up to a minute. */
const TIMEOUT_MS = 240_000;

/** A directory that does not exist yet. */
const fresh = (): string => join(mkdtempSync(join(tmpdir(), "fedloom-demo-")), "out");

/** Processes whose command line names the directory: the demo's clients do. */
function processesOf(directory: string): number[] {
  const listed = execFileSync("ps", ["-eo", "pid=,args="], { encoding: "utf8" });
  return listed
    .split("\n")
    .filter((line) => line.includes(directory) && line.includes("fedloom.mjs"))
    .map((line) => Number.parseInt(line, 10));
}

test(
  "the demo trains with four processes, its loss falls, and it leaves files and no process",
  async () => {
    const out = fresh();
    const { code, stdout, stderr } = await fedloom("demo", "--out", out, "--rounds", "3", "--json");
    expect({ code, stderr: stderr.replaceAll(/.*\n/g, "") }).toEqual({ code: 0, stderr: "" });
    const { schema, rounds, before, files } = JSON.parse(stdout);
    expect(schema).toBe("fedloom.demo/1");
    expect(rounds.map((round: { ok: number }) => round.ok)).toEqual([4, 4, 4]);
    expect(rounds[2].loss).toBeLessThan(0.5 * rounds[0].loss);
    expect(rounds[2].metrics.loss).toBeLessThan(0.2 * before.loss);
    const adapter = readPeft(files.adapter);
    expect(adapter.config.rank).toBe(8);
    expect(adapter.tensors.size).toBe(56); // A and B of 7 modules in 4 layers
    const lines = readFileSync(files.metrics, "utf8").trim().split("\n");
    expect(lines.map((line) => JSON.parse(line).round)).toEqual([1, 2, 3]);
    expect(JSON.parse(readFileSync(files.summary, "utf8"))).toMatchObject({ rounds: 3 });
    expect(readFileSync(files.report, "utf8")).toContain("| 3 | 4 |");
    expect(processesOf(out)).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  "Ctrl-C ends the demo and its clients, and says where its files are",
  async () => {
    const out = fresh();
    const demo = start(["demo", "--out", out]);
    await demo.until(/\n +1 +4\/4/);
    expect(processesOf(out).length).toBe(5);
    demo.child.kill("SIGINT");
    const { code, stderr } = await demo.ended;
    expect(code).toBe(130);
    expect(stderr).toContain("Interrupted in round");
    expect(processesOf(out)).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  "a client that dies is named, the others go on, and nothing is left",
  async () => {
    const out = fresh();
    const demo = start(["demo", "--out", out, "--rounds", "3"]);
    await demo.until(/\n +1 +4\/4/);
    const studio = processesOf(join(out, "data", "studio"));
    process.kill(studio[0]!, "SIGKILL");
    const { code, stdout } = await demo.ended;
    expect(stdout).toContain("client studio ended (SIGKILL)");
    expect(stdout).toMatch(/client studio failed in \w+ of round \d: .* \(F\d{4}\)/);
    expect(stdout).toMatch(/\n +2 +3\/4/);
    expect(stdout).toMatch(/\n +3 +3\/3/); // who is away is not chosen again
    expect(code).toBe(0);
    expect(processesOf(out)).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  "clients end when the demo is killed outright",
  async () => {
    const out = fresh();
    const demo = start(["demo", "--out", out]);
    await demo.until(/\n +1 +4\/4/);
    const clients = processesOf(join(out, "data"));
    expect(clients.length).toBe(4);
    demo.child.kill("SIGKILL");
    await demo.ended;
    await expect.poll(() => processesOf(out), { timeout: 60_000 }).toEqual([]);
  },
  TIMEOUT_MS,
);

test("a directory that holds other files is refused and left alone", async () => {
  const directory = mkdtempSync(join(tmpdir(), "fedloom-demo-"));
  await fedloom("demo", "--prepare", "--out", join(directory, "a"));
  const before = readdirSync(directory, { recursive: true });
  const { code, stderr } = await fedloom("demo", "--out", directory);
  expect(code).toBe(2);
  expect(stderr).toContain("it holds other files; name a new directory (F1004)");
  expect(readdirSync(directory, { recursive: true })).toEqual(before);
});
