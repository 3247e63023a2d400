import { readFileSync } from "node:fs";
import { join } from "node:path";
import { credentials } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { readPeft } from "../../adapters/peft.ts";
import { connectFleet } from "../../proto/service.ts";
import { serveGrpc } from "../../server/grpc/server.ts";
import { FakeClient, type FakeOptions } from "./fake-client.ts";
import {
  config,
  coordinatorIn,
  finished,
  firstAdapter,
  later,
  meanOf,
  temporaryDirectory,
} from "./setting.ts";

async function serve(directory: string) {
  const coordinator = await coordinatorIn(directory);
  const edge = await serveGrpc(coordinator, "127.0.0.1:0");
  later(async () => {
    edge.close();
    await coordinator.close();
  });
  const join = (id: string, options: FakeOptions = {}): FakeClient => {
    const fleet = connectFleet(edge.address, credentials.createInsecure());
    const client = new FakeClient(fleet, id, options);
    client.ended.catch(() => undefined);
    later(() => {
      client.close();
      fleet.close();
    });
    return client;
  };
  return { coordinator, join };
}

test("runs rounds over gRPC and leaves a PEFT adapter, metrics and a summary", async () => {
  const directory = temporaryDirectory();
  const { coordinator, join: joinFleet } = await serve(directory);
  joinFleet("c1", { adds: 1, examples: 10 });
  joinFleet("c2", { adds: 5, examples: 30 });
  const engine = await coordinator.submitRun({ config: config({ evaluation: { data: "held-out" } }) });
  await finished(engine);
  expect(engine.run.stopped).toBeUndefined();

  // Each round adds (10 * 1 + 30 * 5) / 40 = 4 to every value; three rounds add 12.
  const files = join(directory, "runs", engine.run.id);
  expect(meanOf(readPeft(join(files, "adapter")))).toBeCloseTo(meanOf(firstAdapter()) + 12, 5);
  const rounds = readFileSync(join(files, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(rounds.map(({ round, ok, failed, loss }) => ({ round, ok, failed, loss }))).toEqual([
    { round: 1, ok: 2, failed: 0, loss: 1 },
    { round: 2, ok: 2, failed: 0, loss: 1 / 2 },
    { round: 3, ok: 2, failed: 0, loss: 1 / 3 },
  ]);
  expect(rounds.at(-1).metrics.mean).toBeCloseTo(meanOf(firstAdapter()) + 12, 5);
  const summary = JSON.parse(readFileSync(join(files, "summary.json"), "utf8"));
  expect(summary.adapter.sha256).toBe(engine.run.global?.model.sha256);
});
