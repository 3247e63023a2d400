import { cpSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Adapter } from "../../adapters/adapter.ts";
import { float32, tensorSet } from "../../adapters/tensor.ts";
import type { Coordinator } from "../../server/coordinator.ts";
import { MIGRATIONS } from "../../server/journal/migrations.ts";
import { openSqliteStore } from "../../server/journal/sqlite.ts";
import { FakeClient } from "../server/fake-client.ts";
import { config, coordinatorIn, finished, later, temporaryDirectory } from "../server/setting.ts";

/** What the runs of all versions began with. */
const adapter: Adapter = {
  config: {
    base: "b".repeat(64),
    rank: 1,
    alpha: 1,
    rslora: false,
    dropout: 0,
    targets: ["q_proj"],
    rankPattern: {},
    alphaPattern: {},
    modulesToSave: [],
  },
  tensors: tensorSet([
    ["base_model.model.q_proj.lora_A.weight", float32([1, 3], [1, 2, 3])],
    ["base_model.model.q_proj.lora_B.weight", float32([2, 1], [0, 0])],
  ]),
};

async function open(directory: string | undefined): Promise<Coordinator> {
  const coordinator = await coordinatorIn(directory, { model: { createAdapter: async () => adapter } });
  later(() => coordinator.close());
  for (const [k, id] of ["c1", "c2"].entries()) {
    const client = new FakeClient(coordinator.fleet({ address: "in process" }), id, { adds: k + 1 });
    client.ended.catch(() => undefined);
    later(() => client.close());
  }
  return coordinator;
}

const versions = readdirSync(import.meta.dirname).filter((name) => name.startsWith("state-v"));

test("there is a state of each older version", () => {
  const older = MIGRATIONS.slice(1).map((_, i) => `state-v${i + 1}`);
  expect(versions).toEqual(older);
});

test.each(versions)("a run of %s goes on to the adapter of an undisturbed run", async (version) => {
  const directory = temporaryDirectory();
  cpSync(join(import.meta.dirname, version), directory, { recursive: true });
  const engine = (await open(directory)).runs()[0]!;
  expect(engine.run.number).toBe(3);
  await finished(engine);
  expect(engine.run).toMatchObject({ phase: "finished", stopped: undefined });

  const undisturbed = await (await open(undefined)).submitRun({
    config: config({ name: "compat", model: "none" }),
  });
  await finished(undisturbed);
  expect(engine.run.global!.model.sha256).toBe(undisturbed.run.global!.model.sha256);
});

test.each(versions.slice(1))("sites, tokens and the trail of %s are there", async (version) => {
  const directory = temporaryDirectory();
  cpSync(join(import.meta.dirname, version), directory, { recursive: true });
  const store = openSqliteStore(directory);
  later(() => store.close());
  const { registry, trail } = store;
  const enrolled = { enrolledAtMs: 1_790_000_000_000, notAfterMs: 1_797_000_000_000 };
  expect(await registry.sites()).toEqual([
    { name: "c1", ...enrolled },
    { name: "c2", ...enrolled, revokedAtMs: 1_791_000_000_000 },
  ]);
  expect(await registry.token("a".repeat(64))).toEqual({
    hash: "a".repeat(64),
    role: "client",
    name: "c1",
    expiresAtMs: 2_000_000_000_000,
    usedAtMs: 1_790_000_000_000,
  });
  expect(await registry.token("c".repeat(64))).toMatchObject({ role: "viewer", name: "anna" });
  expect(await trail.newest(10)).toEqual([
    { atMs: 1_790_000_000_000, who: "local operator", what: "invited site c1" },
  ]);
});

test.each(versions.slice(2))("%s knows when clients were seen last", async (version) => {
  const directory = temporaryDirectory();
  cpSync(join(import.meta.dirname, version), directory, { recursive: true });
  const store = openSqliteStore(directory);
  later(() => store.close());
  const seen = await store.sightings.read();
  expect([seen.get("c1"), seen.get("c9")]).toEqual([1_790_000_000_001, 1_790_000_000_009]);
});
