import type { X509Certificate } from "node:crypto";
import { get } from "node:https";
import { connect } from "node:tls";
import { credentials } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { ManualClock, systemClock } from "../../base/clock.ts";
import { silentLog } from "../../base/log.ts";
import { enroll, renew, renewalDue } from "../../proto/enroll.ts";
import { formatJoinToken, parseJoinToken } from "../../proto/join-token.ts";
import { newKey } from "../../proto/key-proof.ts";
import { connectFleet } from "../../proto/service.ts";
import { openAuthority } from "../../server/identity/authority.ts";
import { MAX_CERTIFICATES_A_DAY } from "../../server/limits.ts";
import { startCoordinator } from "../../server/start.ts";
import { FakeClient } from "./fake-client.ts";
import { secured } from "./secured.ts";
import { config, finished, later, model, temporaryDirectory, until } from "./setting.ts";

const never = new AbortController().signal;

test("two enrolled sites run a round over mutual TLS, and the trail tells who did what", async () => {
  const { coordinator, admitted, join, call, httpUrl } = await secured();
  join(await admitted("site-1"));
  join(await admitted("site-2"));
  const engine = await coordinator.submitRun({ config: config({ rounds: 1 }), by: "local command" });
  await finished(engine);
  expect(engine.rounds[0]).toMatchObject({ ok: 2, failed: 0 });
  const { id } = engine.run;
  await call("POST", `/v1/runs/${id}/verify`, {});
  const { id: fork } = await call("POST", `/v1/runs/${id}/fork`, { round: 0 });
  await finished(coordinator.engine(String(fork)));
  const { id: third } = await call("POST", "/v1/runs", { config: config({ cohort: { perRound: 3 } }) });
  await call("POST", `/v1/runs/${third}/stop`);
  await call("POST", `/v1/runs/${third}/resume`);
  await call("POST", `/v1/runs/${third}/stop`, { now: true });
  await call("POST", `/v1/runs/${third}/verify`, { round: 7 }); // refused: nothing was done
  await fetch(`${httpUrl}/v1/runs/${id}/adapter/adapter_model.safetensors?round=0`);
  const { audit } = await call("GET", "/v1/audit");
  expect(audit).toMatchObject([
    { who: "local operator", what: "invited site site-1" },
    { who: "site-1", what: expect.stringMatching(/^enrolled from 127\.0\.0\.1:/) },
    { who: "local operator", what: "invited site site-2" },
    { who: "site-2", what: expect.stringMatching(/^enrolled from/) },
    { who: "local command", what: `submitted run ${id} (test)` },
    { who: "local operator", what: `verified run ${id}: 1 round equal` },
    { who: "local operator", what: `forked run ${id} at round 0 into run ${fork}` },
    { who: "local operator", what: `submitted run ${third} (test)` },
    { who: "local operator", what: `stopped run ${third} after its round` },
    { who: "local operator", what: `resumed run ${third}` },
    { who: "local operator", what: `stopped run ${third} at once` },
    { who: "local operator", what: `took the adapter of run ${id}, round 0` },
  ]);
});

test("a join token works once, for its site only, and only at its coordinator", async () => {
  const { address, invite } = await secured();
  const token = await invite("site-1");
  const parsed = parseJoinToken(token);
  const other = formatJoinToken({ ...parsed, name: "site-2" });
  await expect(enroll(address, other, never)).rejects.toMatchObject({ code: "F5012" });
  const elsewhere = formatJoinToken({ ...parsed, fingerprint: "0".repeat(64) });
  await expect(enroll(address, elsewhere, never)).rejects.toMatchObject({ code: "F5013" });
  await expect(enroll(address, token.slice(0, -5), never)).rejects.toMatchObject({ code: "F5012" });
  await enroll(address, token, never);
  await expect(enroll(address, token, never)).rejects.toMatchObject({
    code: "F5012",
    message: expect.not.stringContaining(token.slice(-20)),
  });
});

test("a site that was not answered gets its certificate with the same token and key, and no other key does", async () => {
  const { address, invite, join, call } = await secured();
  const [token, key] = [await invite("site-1"), newKey()];
  const first = await enroll(address, token, never, key);
  const second = await enroll(address, token, never, key);
  expect([second.key, second.certificate === first.certificate]).toEqual([key, false]);
  await join(second).welcome;
  await expect(enroll(address, token, never)).rejects.toMatchObject({ code: "F5012" });
  await expect(enroll(address, await invite("site-2"), never, key)).resolves.toMatchObject({
    name: "site-2",
  });
  const { audit } = await call("GET", "/v1/audit");
  expect(audit).toMatchObject([
    { what: "invited site site-1" },
    { who: "site-1", what: expect.stringMatching(/^enrolled from 127/) },
    { who: "site-1", what: expect.stringMatching(/^enrolled again, with the same token and key, from 127/) },
    { what: "invited site site-2" },
    { who: "site-2", what: expect.stringMatching(/^enrolled from 127/) },
  ]);
});

test.each([
  ["expired", async ({ clock }: Again) => clock.advance(3_600_001)],
  ["been revoked since", async ({ call }: Again) => call("POST", "/v1/sites/site-1/revoke")],
  [
    "been enrolled with another token since",
    async ({ address, invite }: Again) => enroll(address, await invite("site-1"), never),
  ],
])("a spent token is no use to its own key either once it has %s", async (_what, meanwhile) => {
  const clock = new ManualClock(systemClock.now());
  const setting = { clock, ...(await secured(undefined, clock)) };
  const { address, invite } = setting;
  const [token, key] = [await invite("site-1"), newKey()];
  await enroll(address, token, never, key);
  await meanwhile(setting);
  await expect(enroll(address, token, never, key)).rejects.toMatchObject({ code: "F5012" });
});

type Again = Awaited<ReturnType<typeof secured>> & { readonly clock: ManualClock };

test("a withdrawn join token does not count any more, and the trail says who took it back", async () => {
  const { address, invite, call } = await secured();
  const [first, second, other] = [await invite("site-1"), await invite("site-1"), await invite("site-2")];
  expect(await call("POST", "/v1/sites/site-1/withdraw")).toEqual({ name: "site-1", withdrawn: 2 });
  for (const token of [first, second])
    await expect(enroll(address, token, never)).rejects.toMatchObject({ code: "F5012" });
  await enroll(address, other, never);
  // Neither a token that was used nor one that is gone can be withdrawn.
  for (const name of ["site-1", "site-2"])
    expect(await call("POST", `/v1/sites/${name}/withdraw`)).toMatchObject({ code: "F4025" });
  const { audit } = await call("GET", "/v1/audit");
  expect(audit).toContainEqual(
    expect.objectContaining({ who: "local operator", what: "withdrew 2 join tokens of site site-1" }),
  );
});

test("a site that is revoked cannot come back with a join token from before", async () => {
  const { address, admitted, invite, call } = await secured();
  await admitted("site-1");
  const kept = await invite("site-1");
  await call("POST", "/v1/sites/site-1/revoke");
  await expect(enroll(address, kept, never)).rejects.toMatchObject({ code: "F5012" });
});

test("a peer without a certificate of ours gets nothing but the enrolment", async () => {
  const { address, admitted, join } = await secured();
  const stranger = await secured();
  const foreign = await stranger.admitted("site-1");
  const { authority } = await admitted("site-1");
  const fleet = connectFleet(address, credentials.createSsl(Buffer.from(authority)));
  later(() => fleet.close());
  await expect(new FakeClient(fleet, "site-1").ended).rejects.toMatchObject({
    code: "F5014",
    message: expect.stringContaining("enroll it with a join token"),
  });
  // A certificate of another coordinator's authority, for a site of the same name.
  await expect(join({ ...foreign, authority }).ended).rejects.toMatchObject({ code: "F5014" });
});

test("a revoked site is cut off in mid-run and stays out until it is enrolled anew", async () => {
  const { coordinator, admitted, join, call, address, invite } = await secured();
  const bad = await admitted("bad");
  const stuck = join(bad, "bad", { onTask: async () => true });
  join(await admitted("good"));
  const engine = await coordinator.submitRun({
    config: config({ rounds: 1, cohort: { perRound: 2, quorum: 1, idle: "10m" } }),
  });
  await until(engine, (run) => run.round?.members.get("good")?.status === "received");
  await call("POST", "/v1/sites/bad/revoke");
  await expect(stuck.ended).rejects.toMatchObject({
    code: "F5014",
    message: expect.stringContaining("revoked"),
  });
  await finished(engine);
  const reason = { client: "bad", code: "F5014", message: "the site was revoked" };
  expect(engine.rounds[0]!.failures).toMatchObject([reason]);
  await expect(join(bad).ended).rejects.toMatchObject({ code: "F5014" });
  // It was there a moment ago, and is drawn no more.
  const next = await coordinator.submitRun({ config: config({ rounds: 1, cohort: { perRound: 1 } }) });
  await finished(next);
  expect(next.rounds[0]!.clients.map(({ client }) => client)).toEqual(["good"]);
  const again = await enroll(address, await invite("bad"), never);
  await join(again).welcome;
});

test("a site renews its certificate before it ends, with a new key", async () => {
  const { address, admitted, join } = await secured();
  const first = await admitted("site-1");
  expect(renewalDue(first.certificate, systemClock.now())).toBe(false);
  expect(renewalDue(first.certificate, systemClock.now() + 61 * 86_400_000)).toBe(true);
  const second = await renew(address, first, never);
  expect(second.certificate).not.toBe(first.certificate);
  expect(second.key).not.toBe(first.key);
  await join(second).welcome;
});

test("a site gets so many certificates in a day and no more, and the next day again", async () => {
  const clock = new ManualClock(systemClock.now());
  const { address, admitted } = await secured(undefined, clock);
  const site = await admitted("site-1");
  for (let i = 1; i < MAX_CERTIFICATES_A_DAY; i++) await renew(address, site, never);
  await expect(renew(address, site, never)).rejects.toMatchObject({ code: "F5007" });
  await expect(admitted("site-2")).resolves.toMatchObject({ name: "site-2" });
  clock.advance(86_400_000);
  await renew(address, site, never);
});

test("sites and authority are there after a restart", async () => {
  const first = await secured();
  const site = await first.admitted("site-1");
  await first.close();
  const second = await secured(first.state);
  await second.join(site).welcome;
  expect(await second.call("GET", "/v1/sites")).toMatchObject({ sites: [{ name: "site-1" }] });
});

test("a viewer's token looks, an operator's acts, and another one does neither", async () => {
  const { call, httpUrl } = await secured();
  const token = async (role: string) =>
    String((await call("POST", "/v1/tokens", { name: "anna", role })).token);
  const ask = async (bearer: string, method: string): Promise<number> => {
    const headers = { authorization: `Bearer ${bearer}` };
    return (
      await fetch(`${httpUrl}/v1/sites`, {
        method,
        headers,
        ...(method === "POST" && { body: '{"name":"s"}' }),
      })
    ).status;
  };
  const viewer = await token("viewer");
  const operator = await token("operator");
  expect([await ask(viewer, "GET"), await ask(viewer, "POST")]).toEqual([200, 403]);
  expect([await ask(operator, "GET"), await ask(operator, "POST")]).toEqual([200, 201]);
  expect(await ask("guessed", "GET")).toBe(403);
  // All tokens of a name are taken back at once.
  expect(await call("POST", "/v1/tokens/anna/withdraw")).toEqual({ name: "anna", withdrawn: 2 });
  expect([await ask(viewer, "GET"), await ask(operator, "POST")]).toEqual([403, 403]);
  expect(await call("POST", "/v1/tokens/anna/withdraw")).toMatchObject({ code: "F4025" });
});

test("a coordinator that served loopback is started off it, where the operator's interface speaks TLS and answers tokens only", async () => {
  // Its first token is made on the coordinator's own machine.
  const { state, call, close } = await secured();
  const own = String((await call("POST", "/v1/tokens", { name: "anna", role: "operator" })).token);
  await close();
  const authority = await openAuthority(state, systemClock);
  const running = await startCoordinator({ state, log: silentLog, model, http: "0.0.0.0:0" });
  later(() => running.close());
  const { port } = new URL(running.httpUrl!);
  const ask = (path: string, bearer?: string): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const headers = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` };
      const options = { host: "127.0.0.1", port, path, headers, ca: authority.pem };
      get(options, (response) => resolve(response.resume().statusCode)).on("error", reject);
    });
  expect(running.httpUrl).toMatch(/^https:/);
  expect(await ask("/v1/runs")).toBe(403);
  expect(await ask("/v1/runs", "guessed")).toBe(403);
  expect(await ask("/v1/runs", own)).toBe(200);
  expect(await ask("/healthz")).toBe(200);
  await expect(fetch(`http://127.0.0.1:${port}/healthz`)).rejects.toThrow();
});

test("a coordinator behind a router is reached by its public name too", async () => {
  const state = temporaryDirectory();
  const authority = await openAuthority(state, systemClock);
  const names = ["fed.example.org", "203.0.113.7"];
  const listening = { listen: "127.0.0.1:0", names };
  const running = await startCoordinator({ state, log: silentLog, model, ...listening });
  later(() => running.close());
  const port = Number(running.address!.split(":")[1]);
  const shown = await new Promise<X509Certificate>((resolve, reject) => {
    // Checked against a name that no resolver knows here.
    const socket = connect({
      host: "127.0.0.1",
      port,
      ca: authority.pem,
      servername: names[0],
      ALPNProtocols: ["h2"],
    });
    socket.once("error", reject).once("secureConnect", () => {
      resolve(socket.getPeerX509Certificate()!);
      socket.destroy();
    });
  });
  expect(shown.checkHost("fed.example.org")).toBe("fed.example.org");
  expect(shown.checkIP("203.0.113.7")).toBe("203.0.113.7");
});
