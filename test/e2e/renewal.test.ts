/** Certificates over their whole life, with real TLS between a coordinator and a client node: only the years go by faster. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type Clock, systemClock } from "../../base/clock.ts";
import { createLog, silentLog } from "../../base/log.ts";
import { RENEWAL_LOOK_MS, serve } from "../../cli/client/serve.ts";
import { type IdentityOptions, identityOf } from "../../cli/identity.ts";
import { createMemoryState } from "../../client/state.ts";
import { runConfig } from "../../config/run.ts";
import { expiryOf } from "../../proto/enroll.ts";
import { openAuthority } from "../../server/identity/authority.ts";
import { startCoordinator } from "../../server/start.ts";
import { createToyTrainer, toyAdapter, toyExamples } from "../toy-trainer.ts";
import { temporaryDirectory } from "./processes.ts";

const DAY_MS = 86_400_000;

/**
 * The machine's time, `daysBack` days ago: TLS goes by the machine's own clock, so what is issued then must still count
 * now. `jump` lets days go by; timers of hours wait for it, shorter ones take their time.
 */
function pastClock(daysBack: number): Clock & { jump(days: number): void } {
  let shiftMs = -daysBack * DAY_MS;
  const waiting = new Set<{ readonly atMs: number; readonly wake: () => void }>();
  const now = (): number => systemClock.now() + shiftMs;
  return {
    now,
    monotonic: systemClock.monotonic,
    after(delayMs, wake) {
      if (delayMs < RENEWAL_LOOK_MS) return systemClock.after(delayMs, wake);
      const timer = { atMs: now() + delayMs, wake };
      waiting.add(timer);
      return () => void waiting.delete(timer);
    },
    jump(days) {
      shiftMs += days * DAY_MS;
      for (const timer of [...waiting].filter(({ atMs }) => atMs <= now())) {
        waiting.delete(timer);
        timer.wake();
      }
    },
  };
}

async function setting(daysBack: number) {
  const clock = pastClock(daysBack);
  const directory = temporaryDirectory();
  const state = join(directory, "coordinator");
  await openAuthority(state, clock);
  const { coordinator, address, httpUrl, close } = await startCoordinator({
    state,
    log: silentLog,
    clock,
    model: { createAdapter: async () => toyAdapter() },
    listen: "127.0.0.1:0",
    http: "127.0.0.1:0",
  });
  onTestFinished(close);
  const ask = async (path: string, body?: unknown) => {
    const post = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
    return JSON.parse(await (await fetch(`${httpUrl}${path}`, post)).text());
  };
  const lines: string[] = [];
  const log = createLog({ level: "info", format: "pretty", write: (line) => void lines.push(line) });
  const ending = new AbortController();
  onTestFinished(() => ending.abort());
  const site = join(directory, "site");
  const identify = ({ state = site, ...more }: Partial<IdentityOptions> & { state?: string } = {}) =>
    identityOf(state, { address: address!, token: undefined, log, signal: ending.signal, clock, ...more });
  const start = async (token?: string) => {
    const given = token === undefined ? {} : { token };
    const identity = await identify(given);
    const done = serve({
      address: address!,
      identity,
      identify: () => identify(given),
      shard: { train: toyExamples("site-1", 4), heldOut: [] },
      state: createMemoryState("site-1"),
      trainer: createToyTrainer(),
      device: "cpu",
      log,
      clock,
      signal: ending.signal,
    });
    done.catch(() => undefined); // looked at by the test that expects it
    await expect.poll(() => coordinator.parts.presence.session("site-1"), PATIENCE).toBeDefined();
    return { done };
  };
  const invite = async (name = "site-1"): Promise<string> => (await ask("/v1/sites", { name })).token;
  const held = () => JSON.parse(readFileSync(join(site, "identity.json"), "utf8"));
  return { clock, coordinator, site, ask, invite, identify, start, held, lines, ending, close };
}

const PATIENCE = { timeout: 20_000 };
const ONE_ROUND = runConfig.parse({ name: "r", model: "toy", rounds: 1, cohort: { perRound: 1 } });

test("a certificate is renewed while its client runs, which goes on with the new one", async () => {
  const { clock, coordinator, ask, invite, start, held, lines, ending } = await setting(61);
  const { done } = await start(await invite());
  const [before, session] = [held(), coordinator.parts.presence.session("site-1")];
  const trail = async (): Promise<string[]> =>
    (await ask("/v1/audit")).audit.map(({ what }: { what: string }) => what.replace(/ from .*/, ""));

  clock.jump(59); // a third of 90 days is left only after 60
  await expect.poll(trail, PATIENCE).toEqual(["invited site site-1", "enrolled"]);
  expect(held()).toEqual(before);

  clock.jump(2);
  await expect.poll(() => coordinator.parts.presence.session("site-1"), PATIENCE).not.toBe(session);
  await expect.poll(() => coordinator.parts.presence.session("site-1"), PATIENCE).toBeDefined();
  expect(await trail()).toEqual(["invited site site-1", "enrolled", "renewed its certificate"]);
  const after = held();
  expect(after.key).not.toBe(before.key);
  expect(Math.round((expiryOf(after.certificate) - expiryOf(before.certificate)) / DAY_MS)).toBe(61);
  expect(lines.join("\n")).toMatch(/Renewed the certificate of "site-1" +until=20\d\d-/);

  const engine = await coordinator.submitRun({ config: ONE_ROUND });
  await expect.poll(() => engine.run.phase, PATIENCE).toBe("finished");
  expect(engine.rounds[0]).toMatchObject({ ok: 1, failed: 0 });
  ending.abort();
  await done;
});

test("a certificate that expired while its site was away is told with its date and the remedy, which works", async () => {
  const { clock, identify, invite, start, held } = await setting(100);
  const spent = await invite();
  await identify({ token: spent });
  const { certificate } = held();
  clock.jump(100);
  const ended = new Date(expiryOf(certificate)).toISOString().slice(0, 10);
  const told = {
    code: "F5014",
    message: expect.stringContaining(
      `as "site-1": its certificate expired on ${ended}; ask for a new join token ("fedloom enroll site-1" at the coordinator) and start once with --token`,
    ),
  };
  await expect(identify()).rejects.toMatchObject(told);
  // The token that it was started with the first time is still in its unit file.
  await expect(identify({ token: spent })).rejects.toMatchObject(told);

  const { done } = await start(await invite());
  expect(held().certificate).not.toBe(certificate);
  await expect(Promise.race([done, Promise.resolve("runs")])).resolves.toBe("runs");
});

test("a client whose coordinator is away tries to renew until its certificate expires, and then says so", async () => {
  const { clock, invite, start, lines, held, close } = await setting(0);
  const { done } = await start(await invite());
  const { certificate } = held();
  await close();
  clock.jump(70);
  const warned = () => lines.filter((line) => line.includes('Cannot renew the certificate of "site-1" now'));
  await expect.poll(() => warned().length, PATIENCE).toBe(1);
  expect(held().certificate).toBe(certificate);
  clock.jump(21);
  await expect(done).rejects.toMatchObject({
    code: "F5014",
    message: expect.stringContaining("its certificate expired on"),
  });
});

test("a new join token enrolls a site anew, the old one is ignored, and another site's is not spent", async () => {
  const { identify, invite, held, site } = await setting(0);
  const elsewhere = temporaryDirectory();
  const first = await invite();
  await identify({ token: first });
  const { certificate } = held();
  expect((await identify({ token: first }))?.certificate).toBe(certificate);

  const other = await invite("site-2");
  for (const name of [undefined, "site-1", "site-2"]) {
    await expect(identify({ token: other, name })).rejects.toMatchObject({
      code: "F1003",
      message:
        'Cannot join as "site-1": the join token is for site "site-2", which needs a --state of its own',
    });
  }
  await expect(identify({ token: other, state: elsewhere })).resolves.toMatchObject({ name: "site-2" });

  const again = await invite();
  await identify({ token: again, name: "site-1" });
  expect(held().certificate).not.toBe(certificate);

  // As older versions left it: nothing tells which token it was, so the certificate goes first.
  const { joinedWith: _, ...older } = held();
  writeFileSync(join(site, "identity.json"), JSON.stringify(older));
  expect((await identify({ token: await invite() }))?.certificate).toBe(older.certificate);
});
