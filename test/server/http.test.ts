import { request } from "node:http";
import { expect, test } from "vitest";
import { z } from "zod";
import { decodeAdapter } from "../../adapters/peft.ts";
import { operatorApp } from "../../server/http/app.ts";
import { runStatus, streamed } from "../../server/http/schema.ts";
import { serveHttp } from "../../server/http/server.ts";
import { FakeClient } from "./fake-client.ts";
import { secured } from "./secured.ts";
import { config, coordinatorIn, finished, firstAdapter, later, meanOf, until } from "./setting.ts";

async function serve() {
  const coordinator = await coordinatorIn(undefined);
  const edge = await serveHttp(coordinator, "127.0.0.1:0");
  later(async () => {
    await coordinator.close();
    await edge.close();
  });
  const join = (id: string): FakeClient => {
    const client = new FakeClient(coordinator.fleet({ address: "in process" }), id);
    client.ended.catch(() => undefined);
    later(() => client.close());
    return client;
  };
  const post = (path: string, body: unknown): Promise<Response> =>
    fetch(`${edge.url}${path}`, { method: "POST", body: JSON.stringify(body) });
  return { coordinator, url: edge.url, join, post };
}

test("a run is submitted, watched to its end and exported over HTTP", async () => {
  const { url, join, post } = await serve();
  const submitted = await post("/v1/runs", { config: config({ rounds: 2 }) });
  expect(submitted.status).toBe(201);
  const { id } = runStatus.parse(await submitted.json());
  join("c1");
  join("c2");

  const stream = await fetch(`${url}/v1/runs/${id}/events`);
  const messages = (await stream.text())
    .split("\n")
    .filter((line) => line.startsWith("data: "))
    .map((line) => streamed.parse(JSON.parse(line.slice(6))));
  const types = messages.flatMap((message) => (message.kind === "event" ? [message.event.type] : []));
  const round = [
    "round opened",
    "update received",
    "update received",
    "round closed",
    "aggregated",
    "published",
  ];
  expect(types).toEqual(["prepared", "population", ...round, ...round, "finished"]);
  expect(messages.at(-1)).toMatchObject({ kind: "status", status: { status: "finished", round: 2 } });

  const load = async (file: string) =>
    new Uint8Array(await (await fetch(`${url}/v1/runs/${id}/adapter/${file}`)).arrayBuffer());
  const files = { config: await load("adapter_config.json"), model: await load("adapter_model.safetensors") };
  // Both clients add 1 in each of two rounds.
  expect(meanOf(decodeAdapter(files, "download"))).toBeCloseTo(meanOf(firstAdapter()) + 2, 5);
});

test("a stream taken up after an event begins with the next", async () => {
  const { coordinator, url, join } = await serve();
  join("c1");
  join("c2");
  const engine = await coordinator.submitRun({ config: config({ rounds: 1 }) });
  await finished(engine);
  const stream = await fetch(`${url}/v1/runs/${engine.run.id}/events?after=${engine.seq - 1}`);
  const events = (await stream.text()).split("\n").filter((line) => line.startsWith("event: "));
  expect(events).toEqual(["event: event", "event: status"]);
});

test("the same key submits the same run, and another configuration under it is refused", async () => {
  const { post } = await serve();
  const first = runStatus.parse(await (await post("/v1/runs", { config: config(), key: "k1" })).json());
  const again = runStatus.parse(await (await post("/v1/runs", { config: config(), key: "k1" })).json());
  expect(again.id).toBe(first.id);
  const body = { config: config(), key: "k2" };
  const twins = await Promise.all([post("/v1/runs", body), post("/v1/runs", body)]);
  const [one, two] = await Promise.all(twins.map(async (answer) => runStatus.parse(await answer.json())));
  expect(one!.id).toBe(two!.id);
  const other = await post("/v1/runs", { config: config({ rounds: 9 }), key: "k1" });
  expect(other.status).toBe(409);
  expect(await other.json()).toMatchObject({ code: "F4019" });
});

test("a run that waits says for whom", async () => {
  const { coordinator, url, join } = await serve();
  await join("c1").welcome;
  const engine = await coordinator.submitRun({ config: config() });
  await until(engine, (run) => run.phase === "choosing");
  const status = runStatus.parse(await (await fetch(`${url}/v1/runs/${engine.run.id}`)).json());
  expect(status).toMatchObject({ status: "waiting", reason: "waits for clients: 1 of 2 are there" });
});

test.each([
  ["no JSON", "/v1/runs", "{", 400, "F4018"],
  ["a wrong type", "/v1/runs", JSON.stringify({ config: { ...config(), rounds: "many" } }), 400, "F4018"],
  [
    "an unknown strategy",
    "/v1/runs",
    JSON.stringify({ config: config({ strategy: { name: "fedavgg" } }) }),
    404,
    "F3110",
  ],
  ["a run that there is not", "/v1/runs/nobody/stop", "{}", 404, "F4006"],
  ["a path that there is not", "/v2", "{}", 404, "F4018"],
  ["a body above the limit", "/v1/runs", `"${"x".repeat(2 ** 20)}"`, 413, "F5007"],
])("%s is refused with a code", async (_what, path, body, status, code) => {
  const { url } = await serve();
  const response = await fetch(`${url}${path}`, { method: "POST", body });
  expect(response.status).toBe(status);
  expect(await response.json()).toMatchObject({ code, remedy: expect.any(String) });
});

test("what is wrong with a request is said by key, with what is wanted and what is there", async () => {
  const { call } = await secured();
  const refused = async (path: string, body: unknown) => (await call("POST", path, body)).message;
  expect(await refused("/v1/sites", { name: "bad name", minutes: 99_999 })).toMatch(
    /^Cannot read the request: "name" must be text of the form .*, got "bad name"; "minutes" must be at most 43200, got 99999$/,
  );
  expect(await refused("/v1/tokens", { name: "anna", role: "king", dais: 3 })).toBe(
    'Cannot read the request: "role" must be one of "operator", "viewer", got "king"; unknown key "dais": did you mean "days"?',
  );
  expect(await refused("/v1/tokens", [])).toBe("Cannot read the request: it must be a map, got a list of 0");
});

test("a page that reaches the port by another name gets nothing", async () => {
  const { url } = await serve();
  const status = await new Promise((resolve) => {
    request(`${url}/v1/runs`, { headers: { host: "evil.example" } }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).end();
  });
  expect(status).toBe(403);
});

test("off loopback the interface does not open", async () => {
  const coordinator = await coordinatorIn(undefined);
  later(() => coordinator.close());
  await expect(serveHttp(coordinator, "0.0.0.0:0")).rejects.toMatchObject({ code: "F4014" });
});

test("Prometheus reads the coordinator's numbers", async () => {
  const { coordinator, url, join } = await serve();
  join("c1");
  join("c2");
  const engine = await coordinator.submitRun({ config: config({ rounds: 2 }) });
  await finished(engine);
  const text = await (await fetch(`${url}/metrics`)).text();
  const labels = `{run="${engine.run.id}",name="test"}`;
  expect(text).toContain("# TYPE fedloom_clients_connected gauge\nfedloom_clients_connected 2\n");
  expect(text).toContain(`fedloom_run_updates_total${labels} 4\n`);
  expect(text).toContain(`fedloom_run_rounds_done_total${labels} 2\n`);
  expect(text).toMatch(/process_resident_memory_bytes \d{7,}\n/);
  // Every line is a comment or a sample, as the format wants it.
  expect(
    text
      .trimEnd()
      .split("\n")
      .filter((line) => !/^(# (HELP|TYPE) |[a-z_]+(\{[^}]*\})? [-\d.e+]+$)/.test(line)),
  ).toEqual([]);
});

test("the OpenAPI document names every path that answers", async () => {
  const { coordinator, url } = await serve();
  const document = z.object({ openapi: z.literal("3.1.0"), paths: z.record(z.string(), z.unknown()) });
  const { paths } = document.parse(await (await fetch(`${url}/openapi.json`)).json());
  const app = operatorApp(coordinator, { allowedHosts: () => [], local: true, gate: undefined });
  const served = app.routes
    .filter(({ method, path }) => method !== "ALL" && path !== "/openapi.json")
    .map(({ path }) => path.replace(/:(\w+)/g, "{$1}"));
  expect(served.filter((path) => !(path in paths))).toEqual([]);
  expect(served).toContain("/v1/runs/{id}/fork");
});

test("without an authority, sites and tokens are refused with the command that makes one", async () => {
  const { url, join, post } = await serve();
  for (const response of [
    await fetch(`${url}/v1/sites`),
    await post("/v1/tokens", { name: "anna", role: "viewer" }),
    await post("/v1/sites/harbor/revoke", {}),
  ]) {
    expect(response.status).toBe(409);
    expect(await response.json()).toMatchObject({
      code: "F4022",
      message: expect.stringContaining('"fedloom ca init"'),
    });
  }
  // Its clients are listed all the same, with the time at which each was here last.
  const client = join("c1");
  await client.welcome;
  const seen = async (): Promise<unknown> => {
    const { clients }: { clients: unknown } = JSON.parse(await (await fetch(`${url}/v1/clients`)).text());
    return clients;
  };
  expect(await seen()).toMatchObject([{ client: "c1", connected: true, lastSeenAtMs: expect.any(Number) }]);
  client.close();
  await expect
    .poll(seen)
    .toMatchObject([{ client: "c1", connected: false, lastSeenAtMs: expect.any(Number) }]);
});
