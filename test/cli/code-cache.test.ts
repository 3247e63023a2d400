import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { codeCache } from "../../bin/code-cache.mjs";
import { start } from "./process.ts";

/** A home of its own; what is set for the tests' own process counts no more. */
function home(): string {
  const folder = mkdtempSync(join(tmpdir(), "fedloom-home-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

test.skipIf(process.platform === "win32")("compiled code is kept in the user's own folder", async () => {
  const folder = home();
  const env = { XDG_CACHE_HOME: folder, NODE_COMPILE_CACHE: undefined };
  const { code } = await start(["--version"], { env }).ended;
  expect(code).toBe(0);
  expect(readdirSync(join(folder, "fedloom", "code"))).not.toEqual([]);
});

test.skipIf(process.platform === "win32")("a folder that cannot be made costs time alone", async () => {
  const file = join(home(), "no-folder");
  writeFileSync(file, "");
  const env = { XDG_CACHE_HOME: file, NODE_COMPILE_CACHE: undefined };
  const { code, stdout } = await start(["--version"], { env }).ended;
  expect(code).toBe(0);
  expect(stdout).toMatch(/^\d+\.\d+\.\d+/);
});

test.skipIf(process.platform === "win32")("without a folder for caches it lies in the home", () => {
  onTestFinished(() => void vi.unstubAllEnvs());
  vi.stubEnv("XDG_CACHE_HOME", "");
  vi.stubEnv("HOME", "/home/anna");
  expect(codeCache()).toBe("/home/anna/.cache/fedloom/code");
});
