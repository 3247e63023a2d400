/**
 * Real processes, real sockets: whatever is killed, the final adapter is that of the undisturbed run, and no
 * finished training is done twice.
 */
import { beforeAll, expect, test } from "vitest";
import { federation, finalHash, fleetHash } from "./federation.ts";
import { temporaryDirectory } from "./processes.ts";

/** Rounds x clients of federation.ts's run. */
const TRAININGS = 8;

/** What every run must end with. */
let reference: string;
beforeAll(async () => {
  reference = await fleetHash();
});

test("two clients and a coordinator run four rounds and end cleanly", async () => {
  const setting = await federation();
  const coordinator = setting.coordinator();
  const clients = [setting.client("c1"), setting.client("c2")];
  expect(await finalHash(coordinator)).toBe(reference);
  expect(new Set(setting.trainings()).size).toBe(TRAININGS);
  expect(setting.trainings()).toHaveLength(TRAININGS);
  for (const child of [...clients, coordinator]) {
    child.process.kill("SIGINT");
    expect(await child.exited).toEqual({ code: 0, signal: null });
    expect(child.lines.at(-1)).toBe("ended cleanly");
  }
});

test("a coordinator killed in the middle of round 3 goes on, to the same adapter", async () => {
  const setting = await federation();
  const first = setting.coordinator();
  const c1 = setting.client("c1", { holdIn: 3 });
  setting.client("c2");
  await c1.line(/^holding/);
  await first.line(/^event update received 3 c2$/);
  await first.kill();
  const second = setting.coordinator();
  await second.line(/^listening/);
  c1.process.send("go");
  expect(await finalHash(second)).toBe(reference);
  expect(setting.trainings()).toHaveLength(TRAININGS);
});

test("a coordinator that ends by Ctrl-C and is started again goes on", async () => {
  const setting = await federation();
  const first = setting.coordinator();
  setting.client("c1");
  setting.client("c2");
  await first.line(/^round 2 published/);
  first.process.kill("SIGINT");
  expect(await first.exited).toEqual({ code: 0, signal: null });
  const second = setting.coordinator();
  expect(await finalHash(second)).toBe(reference);
  expect(setting.trainings()).toHaveLength(TRAININGS);
});

test("a client killed in training begins that task anew, and no other", async () => {
  const setting = await federation();
  const coordinator = setting.coordinator();
  const c1 = setting.client("c1", { holdIn: 2 });
  setting.client("c2");
  await c1.line(/^holding/);
  await c1.kill();
  const again = setting.client("c1");
  await again.line(/A task was cut off; it begins anew when it is offered/);
  expect(await finalHash(coordinator)).toBe(reference);
  expect(setting.trainings()).toHaveLength(TRAININGS);
});

test("a client killed with a finished update offers it after the restart, without training again", async () => {
  const setting = await federation();
  const coordinator = setting.coordinator();
  const c1 = setting.client("c1", {}, { FEDLOOM_FAILPOINTS: "client.update-kept=kill@2" });
  setting.client("c2");
  expect((await c1.exited).signal).toBe("SIGKILL");
  const again = setting.client("c1");
  await again.line(/Offering a finished result again/);
  expect(await finalHash(coordinator)).toBe(reference);
  expect(setting.trainings()).toHaveLength(TRAININGS);
});

test("Ctrl-C of a client ends it cleanly, and started again it goes on", async () => {
  const setting = await federation();
  const coordinator = setting.coordinator();
  const c1 = setting.client("c1", { holdIn: 2 });
  setting.client("c2");
  await c1.line(/^holding/);
  c1.process.kill("SIGINT");
  expect(await c1.exited).toEqual({ code: 0, signal: null });
  setting.client("c1");
  expect(await finalHash(coordinator)).toBe(reference);
  expect(setting.trainings()).toHaveLength(TRAININGS);
});

test("a client that is there before its coordinator waits and says so", async () => {
  const setting = await federation();
  const c1 = setting.client("c1");
  setting.client("c2");
  await c1.line(/Connection lost; trying again \(F5001\)/);
  expect(await finalHash(setting.coordinator())).toBe(reference);
});

test("of two processes with one name the newer goes on, the older says why it ended", async () => {
  const setting = await federation();
  const coordinator = setting.coordinator();
  const older = setting.client("c1", { holdIn: 2 });
  setting.client("c2");
  await older.line(/^holding/);
  setting.client("c1", { state: temporaryDirectory() });
  expect(await older.exited).toEqual({ code: 1, signal: null });
  expect(older.lines.at(-1)).toContain("F5004");
  expect(await finalHash(coordinator)).toBe(reference);
});
