/** A site's way in, whoever dies on it: the token is the site's, or nobody's, and the trail tells what happened. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { systemClock } from "../../base/clock.ts";
import type { Failpoint } from "../../base/failpoint.ts";
import { silentLog } from "../../base/log.ts";
import { openAuthority } from "../../server/identity/authority.ts";
import { Gate } from "../../server/identity/gate.ts";
import { openSqliteStore } from "../../server/journal/sqlite.ts";
import { type Environment, federation } from "../e2e/federation.ts";
import { startProcess } from "../e2e/processes.ts";
import { OF_ENROLMENT } from "./lives.ts";

/** A coordinator with an authority, and a token for site-1; nobody is up yet. */
async function invited() {
  const { directory, address, coordinator } = await federation();
  const state = join(directory, "coordinator");
  const store = openSqliteStore(state);
  const authority = await openAuthority(state, systemClock);
  const { registry } = store;
  const parts = { registry, authority, clock: systemClock, log: silentLog, onRevoked: () => undefined };
  const gate = await Gate.open(parts);
  const token = await gate.invite("site-1", 3_600_000, "local operator");
  await store.close();
  const site = (name: string, environment?: Environment) =>
    startProcess(
      join(import.meta.dirname, "joining-site.ts"),
      [join(directory, name), address, token],
      environment,
    );
  const trail = async (): Promise<string[]> => {
    const again = openSqliteStore(state);
    const entries = await again.trail.newest(100);
    await again.close();
    return entries.map(({ who, what }) => `${who}: ${what.replace(/ from 127.*/, "")}`);
  };
  return { directory, coordinator, site, trail };
}

const INVITED = "local operator: invited site site-1";
const ENROLLED = "site-1: enrolled";
const AGAIN = "site-1: enrolled again, with the same token and key,";

const deaths: readonly (readonly [Failpoint, readonly string[]])[] = [
  ["client.key-kept", [INVITED, ENROLLED]],
  ["server.site-enrolled", [INVITED, ENROLLED, AGAIN]],
  ["client.certified", [INVITED, ENROLLED, AGAIN]],
];

test("every failpoint of an enrolment is passed here", () => {
  expect(deaths.map(([name]) => name).toSorted()).toEqual(OF_ENROLMENT.toSorted());
});

test.each(deaths)(
  "killed at %s, a site joins with the same token all the same, with the key it had, and nobody else does",
  async (failpoint, told) => {
    const { directory, coordinator, site, trail } = await invited();
    const deadly = { FEDLOOM_FAILPOINTS: `${failpoint}=kill` };
    const ofServer = failpoint.startsWith("server.");
    const first = coordinator(ofServer ? deadly : {});
    await first.line(/^listening on/);
    const joining = site("site-1", ofServer ? {} : deadly);
    const { signal } = await (ofServer ? first : joining).exited;
    expect(signal).toBe("SIGKILL");
    // The site of a coordinator that died is told that nobody answers, and ends.
    if (ofServer) expect((await joining.line(/^refused (F\d+)/))[1]).toBe("F5001");
    const { key } = JSON.parse(readFileSync(join(directory, "site-1", "joining.json"), "utf8"));

    const last = ofServer ? coordinator() : first;
    await last.line(/^listening on/);
    await site("site-1").line(/^joined as site-1 /);
    const identity = JSON.parse(readFileSync(join(directory, "site-1", "identity.json"), "utf8"));
    expect(identity.key).toBe(key);

    const thief = site("thief");
    expect((await thief.line(/^refused (F\d+).*/))[1]).toBe("F5012");
    await last.kill();
    expect(await trail()).toEqual(told);
  },
);
