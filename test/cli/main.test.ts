import { describe, expect, test } from "vitest";
import { type Code, ERROR_CODES, FedloomError } from "../../base/errors.ts";
import { EXIT_CODES, exitCodeOf } from "../../cli/exit-codes.ts";
import { fedloom } from "./process.ts";

describe("a wrong command line ends with exit code 2 and one sentence", () => {
  test.each([
    [
      ["docter"],
      'Cannot run "fedloom docter": unknown command "docter" (did you mean "doctor"?); see "fedloom --help" (F1003)',
    ],
    [
      ["doctor", "--josn"],
      'Cannot run "fedloom doctor": unknown option "--josn" (did you mean "--json"?); see "fedloom doctor --help" (F1003)',
    ],
    [
      ["doctor", "now"],
      'Cannot run "fedloom doctor": too many arguments for "doctor". Expected 0 arguments but got 1: now; see "fedloom doctor --help" (F1003)',
    ],
    [["help", "doctr"], 'Cannot show help: no command "doctr"; see "fedloom --help" (F1003)'],
    [
      ["client", "--join", "nowhere"],
      'Cannot run "fedloom client": option "--join <host:port>" argument "nowhere" is invalid. It must have the form HOST:PORT, such as 127.0.0.1:7443; see "fedloom client --help" (F1003)',
    ],
  ])("fedloom %j", async (args, message) => {
    const { code, stdout, stderr } = await fedloom(...args);
    expect({ code, stdout, stderr }).toEqual({ code: 2, stdout: "", stderr: `${message}\n` });
  });

  test("--verbose adds where it came from, --json makes it machine-readable", async () => {
    const verbose = await fedloom("doctor", "--wrong", "--verbose");
    expect(verbose.stderr).toMatch(/\n\s+at /);
    const json = await fedloom("doctor", "--wrong", "--json");
    expect(JSON.parse(json.stderr)).toMatchObject({ schema: "fedloom.error/1", code: "F1003" });
  });
});

test("without a command there is help, as with --help, and both are a success", async () => {
  const [bare, help] = await Promise.all([fedloom(), fedloom("--help")]);
  expect(bare).toEqual(help);
  expect(bare).toMatchObject({ code: 0, stderr: "" });
  for (const code of Object.keys(EXIT_CODES)) expect(bare.stdout).toMatch(new RegExp(`^ +${code}  `, "m"));
});

test("a group of commands alone shows what is in it", async () => {
  const { code, stdout } = await fedloom("model");
  expect(code).toBe(0);
  expect(stdout).toMatch(/inspect.*check/s);
});

test("every error code has an exit code that follows its family", () => {
  for (const code of Object.keys(ERROR_CODES) as Code[]) {
    expect(exitCodeOf(new FedloomError(code, "x"))).toBe(Number(code[1]) + 1);
  }
  expect(exitCodeOf(new Error("x"))).toBe(1);
});

test("doctor finds the runtime, the engine and the CPU, and a remedy for every no that has one", async () => {
  const { code, stdout } = await fedloom("doctor", "--json");
  const { schema, ok, checks } = JSON.parse(stdout);
  expect({ code, schema, ok }).toEqual({ code: 0, schema: "fedloom.doctor/1", ok: true });
  const names = checks.map((check: { name: string }) => check.name);
  expect(names).toEqual(
    expect.arrayContaining(["node", "onnxruntime-node", "device cpu", "device cuda", "memory", "disk"]),
  );
  for (const check of checks) expect(check.finding.length).toBeGreaterThan(5);
});
