/** The audit trail: everything that changes what a coordinator does or serves is in it, whoever did it and however. */
import { expect, test } from "vitest";
import { z } from "zod";
import { openApiDocument } from "../../server/http/openapi.ts";
import { secured } from "./secured.ts";
import { config, coordinatorIn, finished, later, temporaryDirectory } from "./setting.ts";

test("whatever can be told to a coordinator over HTTP leaves an entry, and nothing that is refused does", async () => {
  const { coordinator, admitted, join, call, invite } = await secured();
  join(await admitted("site-1"));
  const engine = await coordinator.submitRun({ config: config({ rounds: 1, cohort: { perRound: 1 } }) });
  await finished(engine);
  const waiting = await coordinator.submitRun({ config: config({ cohort: { perRound: 5 } }) });
  await invite("site-2");
  const { id } = engine.run;
  /** What each path is told, in an order in which each is possible. */
  const told: Record<string, { readonly path: string; readonly body?: unknown; readonly what: RegExp }> = {
    "/v1/runs": { path: "/v1/runs", body: { config: config() }, what: /^submitted run \w+ \(test\)$/ },
    "/v1/runs/{id}/stop": { path: `/v1/runs/${waiting.run.id}/stop`, what: /^stopped run \w+ after/ },
    "/v1/runs/{id}/resume": { path: `/v1/runs/${waiting.run.id}/resume`, what: /^resumed run \w+$/ },
    "/v1/runs/{id}/verify": { path: `/v1/runs/${id}/verify`, what: /^verified run \w+: 1 round equal$/ },
    "/v1/runs/{id}/fork": {
      path: `/v1/runs/${id}/fork`,
      body: { round: 0 },
      what: /^forked run \w+ at round 0 into run \w+$/,
    },
    "/v1/sites": { path: "/v1/sites", body: { name: "site-3" }, what: /^invited site site-3$/ },
    "/v1/sites/{name}/withdraw": {
      path: "/v1/sites/site-2/withdraw",
      what: /^withdrew 1 join token of site site-2$/,
    },
    "/v1/sites/{name}/revoke": { path: "/v1/sites/site-1/revoke", what: /^revoked site site-1$/ },
    "/v1/tokens": {
      path: "/v1/tokens",
      body: { name: "anna", role: "viewer" },
      what: /^gave anna a token as viewer$/,
    },
    "/v1/tokens/{name}/withdraw": {
      path: "/v1/tokens/anna/withdraw",
      what: /^withdrew 1 token of anna$/,
    },
  };
  const document = z.object({ paths: z.record(z.string(), z.record(z.string(), z.unknown())) });
  const paths = Object.entries(document.parse(openApiDocument()).paths)
    .filter(([, methods]) => "post" in methods)
    .map(([path]) => path);
  expect(Object.keys(told).toSorted()).toEqual(paths.toSorted());

  const { trail } = coordinator.parts.store;
  for (const { path, body, what } of Object.values(told)) {
    const before = await trail.newest(100);
    const wrong = path
      .replace(id, "nobody")
      .replace(waiting.run.id, "nobody")
      .replace(/site-[12]|anna/, "nobody");
    await call("POST", wrong, { round: "none", name: "", role: "king" });
    expect(await trail.newest(100)).toEqual(before);
    await call("POST", path, body);
    const after = await trail.newest(100);
    expect(after.slice(before.length)).toEqual([
      { atMs: expect.any(Number), who: "local operator", what: expect.stringMatching(what) },
    ]);
  }
});

test("a run that is submitted again with the same key is noted once, and so after a restart", async () => {
  const directory = temporaryDirectory();
  const submission = { config: config(), key: "the run", by: "local command" };
  const first = await coordinatorIn(directory);
  const { row } = await first.submitRun(submission);
  await first.submitRun(submission);
  await first.close();
  const second = await coordinatorIn(directory);
  later(() => second.close());
  await second.submitRun(submission);
  expect(await second.parts.store.trail.newest(10)).toEqual([
    { atMs: row.createdAtMs, who: "local command", what: `submitted run ${row.id} (test)` },
  ]);
});
