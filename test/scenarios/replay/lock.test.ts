import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { lockReplay } from "../../../scenarios/replay/lock.ts";

/** A process starts within a second; a busy machine needs more. */
const TIMEOUT_MS = 60_000;

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), "fedloom-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function refusal(out: string, pid: number) {
  return expect.objectContaining({
    code: "F6026",
    message: `Cannot replay into "${out}": process ${pid} replays into it; wait for it, stop it, or take another --out`,
  });
}

test("a folder is one replay's at a time, and another's once it is given back", () => {
  const out = temporary();
  const unlock = lockReplay(out);
  expect(() => lockReplay(out)).toThrow(refusal(out, process.pid));
  lockReplay(temporary())();
  unlock();
  lockReplay(out)();
});

test(
  "a second process is told which process has the folder; killed by SIGKILL that one leaves nothing locked",
  async () => {
    const out = temporary();
    const module = JSON.stringify(join(import.meta.dirname, "../../../scenarios/replay/lock.ts"));
    const script = `const { lockReplay } = await import(${module}); lockReplay(${JSON.stringify(out)}); console.log("locked"); setInterval(() => {}, 1e9);`;
    const holder = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    onTestFinished(() => void holder.kill("SIGKILL"));
    await once(holder.stdout, "data");
    expect(() => lockReplay(out)).toThrow(refusal(out, holder.pid!));
    holder.kill("SIGKILL");
    await once(holder, "exit");
    lockReplay(out)();
  },
  TIMEOUT_MS,
);

test("a folder that cannot be written is refused by name", () => {
  const out = join(temporary(), "none");
  expect(() => lockReplay(out)).toThrow(/^Cannot write to ".*none": /);
});
