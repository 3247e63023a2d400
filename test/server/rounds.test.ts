import { readFileSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { Client, credentials, status } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import type { Adapter } from "../../adapters/adapter.ts";
import { readPeft } from "../../adapters/peft.ts";
import { float32, tensorSet } from "../../adapters/tensor.ts";
import { type Aggregator, openAggregator } from "../../aggregators/aggregator.ts";
import {
  Health,
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus,
} from "../../proto/gen/grpc/health/v1/health_pb.ts";
import { methodsOf } from "../../proto/service.ts";
import { serveGrpc } from "../../server/grpc/server.ts";
import type { ModelPort } from "../../server/ports.ts";
import { FakeClient } from "./fake-client.ts";
import { overGrpc } from "./over-grpc.ts";
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
  const { join } = await overGrpc(coordinator);
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

test("a large round is aggregated in threads, to the same adapter", async () => {
  // 2048 x 8 x 2 floats a module: 8 modules are 1 MiB.
  const wide: Adapter = {
    config: { ...firstAdapter().config, rank: 8 },
    tensors: tensorSet(
      Array.from({ length: 8 }, (_, layer) => `base_model.model.layers.${layer}.q_proj`).flatMap(
        (path, k) => [
          [`${path}.lora_A.weight`, float32([8, 2048], new Float32Array(8 * 2048).fill(k))] as const,
          [`${path}.lora_B.weight`, float32([2048, 8], new Float32Array(8 * 2048).fill(-k))] as const,
        ],
      ),
    ),
  };
  const model: ModelPort = { createAdapter: async () => wide };
  const settings = config({ rounds: 1, cohort: { perRound: 2 }, strategy: { name: "fedavg" } });
  const adapterOf = async (over: { readonly aggregator?: Aggregator }): Promise<string> => {
    const coordinator = await coordinatorIn(temporaryDirectory(), { model, ...over });
    later(() => coordinator.close());
    for (let k = 0; k < 2; k++) {
      const client = new FakeClient(coordinator.fleet({ address: "in process" }), `c${k}`, {
        adds: k,
        examples: k + 1,
      });
      client.ended.catch(() => undefined);
      later(() => client.close());
    }
    const engine = await coordinator.submitRun({ config: settings });
    await finished(engine);
    expect(engine.run.stopped).toBeUndefined();
    return engine.run.global!.model.sha256;
  };
  const aggregator = openAggregator({ threads: 2 });
  later(() => aggregator.close());
  const rounds: number[] = [];
  const watched: Aggregator = {
    ...aggregator,
    aggregate: (input) => {
      rounds.push(input.round);
      return aggregator.aggregate(input);
    },
  };
  expect(await adapterOf({ aggregator: watched })).toBe(await adapterOf({}));
  expect(rounds).toEqual([1]);
});

test("a probe that speaks gRPC's health protocol is answered", async () => {
  const coordinator = await coordinatorIn(undefined);
  const edge = await serveGrpc(coordinator, "127.0.0.1:0");
  const client = new Client(edge.address, credentials.createInsecure());
  later(async () => {
    client.close();
    edge.close();
    await coordinator.close();
  });
  const { path, requestSerialize, responseDeserialize } = methodsOf(Health).check!;
  const check = (service: string): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const request = create(HealthCheckRequestSchema, { service });
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, (error, answer) =>
        error === null ? resolve(answer) : reject(error),
      );
    });
  const serving = { status: HealthCheckResponse_ServingStatus.SERVING };
  expect(await check("")).toMatchObject(serving);
  expect(await check("fedloom.v1.FleetService")).toMatchObject(serving);
  await expect(check("another.Service")).rejects.toMatchObject({ code: status.NOT_FOUND });
});
