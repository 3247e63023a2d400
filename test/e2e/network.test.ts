/** What networks do, through the proxy: delay, cut connections, connections that are open and dead. */
import { expect, onTestFinished, test } from "vitest";
import { startProxy } from "../proxy.ts";
import { federation, finalHash, fleetHash } from "./federation.ts";

const MIB = 2 ** 20;
/** 3 MiB of adapter in three chunks, for what happens within a transfer. */
const WIDE = 3 * 131_072;

async function proxyTo(address: string, delayMs = 0) {
  const proxy = await startProxy(address, { delayMs });
  onTestFinished(() => proxy.close());
  return proxy;
}

test("the same blob is never fetched twice, also after a restart in mid-task", async () => {
  const setting = await federation({ width: WIDE });
  const coordinator = setting.coordinator();
  await coordinator.line(/^listening/);
  const proxy = await proxyTo(setting.address);
  const c1 = setting.client("c1", { join: proxy.address, holdIn: 2 });
  setting.client("c2");
  await c1.line(/^holding/);
  await c1.kill();
  setting.client("c1", { join: proxy.address });
  await finalHash(coordinator);
  // Four rounds, an adapter of 3 MiB each; the restarted client finds that of round 2 on its disk.
  expect(proxy.bytes.down / MIB).toBeGreaterThan(12);
  expect(proxy.bytes.down / MIB).toBeLessThan(12.5);
});

test("an upload that is cut off goes on where it was, and the adapter is the same", async () => {
  const setting = await federation({ width: WIDE });
  const coordinator = setting.coordinator();
  await coordinator.line(/^listening/);
  const proxy = await proxyTo(setting.address);
  // In the third chunk of the first upload, and somewhere in the second.
  proxy.afterUpload(2.3 * MIB, () => {
    proxy.cut();
    proxy.afterUpload(3 * MIB, () => proxy.cut());
  });
  setting.client("c1", { join: proxy.address });
  setting.client("c2");
  expect(await finalHash(coordinator)).toBe(await fleetHash({ width: WIDE }));
  expect(setting.trainings()).toHaveLength(8);
  // Four uploads of 3 MiB; of each cut at most what was under way is sent again, not the whole.
  expect(proxy.bytes.up / MIB).toBeLessThan(12 + 2 * 2.5);
});

test("a client killed in its upload goes on with it after the restart", async () => {
  const setting = await federation({ width: WIDE });
  const coordinator = setting.coordinator();
  const c1 = setting.client("c1", {}, { FEDLOOM_FAILPOINTS: "client.chunk-pushed=kill@3" });
  setting.client("c2");
  expect((await c1.exited).signal).toBe("SIGKILL");
  const proxy = await proxyTo(setting.address);
  setting.client("c1", { join: proxy.address });
  await finalHash(coordinator);
  expect(setting.trainings()).toHaveLength(8);
});

test("a run over a line of 100 ms and with connections that break ends with the same adapter", async () => {
  const setting = await federation();
  const coordinator = setting.coordinator();
  await coordinator.line(/^listening/);
  const proxy = await proxyTo(setting.address, 50);
  setting.client("c1", { join: proxy.address });
  setting.client("c2", { join: proxy.address });
  for (const round of [1, 2]) {
    await coordinator.line(new RegExp(`^round ${round} published`));
    proxy.cut();
  }
  expect(await finalHash(coordinator)).toBe(await fleetHash());
  expect(setting.trainings()).toHaveLength(8);
});

test("a connection that is open and dead is noticed by the client, which comes back", async () => {
  const setting = await federation();
  const coordinator = setting.coordinator();
  await coordinator.line(/^listening/);
  const proxy = await proxyTo(setting.address);
  const c1 = setting.client("c1", { join: proxy.address, holdIn: 2, keepaliveMs: 2000 });
  setting.client("c2");
  await c1.line(/^holding/);
  proxy.freeze();
  await c1.line(/Connection lost; trying again/);
  c1.process.send("go");
  await finalHash(coordinator);
  expect(setting.trainings()).toHaveLength(8);
});
