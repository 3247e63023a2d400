import { existsSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { fedloom } from "./process.ts";

const root = join(import.meta.dirname, "..", "..");
const deploy = (name: string): string => readFileSync(join(root, "examples", "deploy", name), "utf8");

/** A process starts; beside other tests on two cores that takes seconds. */
const TIMEOUT_MS = 120_000;
let options: Set<string>;
beforeAll(async () => {
  const { stdout } = await fedloom("coordinator", "--help");
  options = new Set(stdout.match(/--[a-z-]+/g));
}, TIMEOUT_MS);

/** Options that are not the coordinator's: of docker, npm, systemctl and useradd. */
const OTHERS = ["--omit", "--rm", "--restart", "--now", "--system"];

test.each(["Dockerfile", "fedloom-coordinator.service"])(
  "%s names options that the coordinator has",
  (name) => {
    const named = deploy(name).match(/--[a-z-]+/g)!;
    expect(named).toEqual(expect.arrayContaining(["--state", "--listen", "--http", "--public-name"]));
    expect(named.filter((option) => !options.has(option) && !OTHERS.includes(option))).toEqual([]);
  },
);

test("systemd takes the end by SIGTERM for a clean one, and finds an authority at the first start", () => {
  const unit = deploy("fedloom-coordinator.service");
  const told = (key: string) => new RegExp(`^${key}=(.*)$`, "m").exec(unit)?.[1];
  expect(Number(told("SuccessExitStatus"))).toBe(128 + constants.signals.SIGTERM);
  const state = /--state (\S+)/.exec(told("ExecStart")!)![1]!;
  expect(told("ExecStartPre")).toMatch(new RegExp(`fedloom ca init --state ${state}$`));
  expect(state).toBe(`/var/lib/${told("StateDirectory")}`);
});

test("the image is made of files that are there, for the Node that is wanted", () => {
  const lines = deploy("Dockerfile").split("\n");
  const copied = lines
    .find((line) => line.startsWith("COPY package.json"))!
    .split(" ")
    .slice(1, -1);
  expect(copied.filter((file) => !existsSync(join(root, file)))).toEqual([]);
  const [, program] = /^ENTRYPOINT \["node", "([^"]+)"\]$/m.exec(deploy("Dockerfile"))!;
  expect(existsSync(join(root, program!))).toBe(true);
  expect(deploy("Dockerfile")).toMatch(/^FROM node:24/m);
  // What a checkout holds beside its sources stays out of the image.
  expect(readFileSync(join(root, ".dockerignore"), "utf8").split("\n")).toEqual(
    expect.arrayContaining([".git", "node_modules"]),
  );
});
