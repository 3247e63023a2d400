/**
 * The two sides of large-round.test.ts: `coordinator DIR MIB` makes or takes up a run whose adapter has so many MiB in
 * tensors of 4 MiB; `client DIR ADDRESS NAME` answers each task with the adapter it was handed, one number changed, from
 * file to file. The coordinator, when it is asked, aggregates the round again and tells its peak memory.
 */
import { closeSync, mkdirSync, openSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import type { Adapter } from "../../adapters/adapter.ts";
import { float32, type Tensor, tensorSet } from "../../adapters/tensor.ts";
import { systemClock } from "../../base/clock.ts";
import { silentLog } from "../../base/log.ts";
import { createRng } from "../../base/rng.ts";
import { type ClientBlobs, openDiskBlobs } from "../../client/blobs.ts";
import { channelCredentials, INSECURE } from "../../client/credentials.ts";
import { createTransfer } from "../../client/transfer.ts";
import { runConfig } from "../../config/run.ts";
import {
  type BlobRef,
  BlobRefSchema,
  SubmitResultRequestSchema,
} from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import { connectFleet } from "../../proto/service.ts";
import { startCoordinator } from "../../server/start.ts";
import { verify } from "../../server/verify.ts";
import { FakeClient } from "../server/fake-client.ts";

process.on("disconnect", () => process.exit(1));

/** A or B of one module: rank 8, width 131,072. */
const TENSOR_MIB = 4;
const RANK = 8;
const WIDTH = (TENSOR_MIB * 2 ** 20) / 4 / RANK;

function adapterOf(mib: number): Adapter {
  const values = new Float32Array(RANK * WIDTH).fill(0.5); // shared by all tensors
  const modules = Array.from({ length: mib / TENSOR_MIB / 2 }, (_, layer): [string, Tensor][] => {
    const path = `base_model.model.layers.${layer}.q_proj`;
    return [
      [`${path}.lora_A.weight`, float32([RANK, WIDTH], values)],
      [`${path}.lora_B.weight`, float32([WIDTH, RANK], values)],
    ];
  });
  const config = { base: "", rank: RANK, alpha: 8, rslora: false, dropout: 0, targets: ["q_proj"] };
  return {
    config: { ...config, rankPattern: {}, alphaPattern: {}, modulesToSave: [] },
    tensors: tensorSet(modules.flat()),
  };
}

async function coordinate(state: string, mib: number): Promise<void> {
  const { coordinator, address } = await startCoordinator({
    state,
    listen: "127.0.0.1:0",
    log: silentLog,
    model: { createAdapter: async () => adapterOf(mib) },
  });
  const engine = await coordinator.submitRun({
    key: "large",
    config: runConfig.parse({ name: "large", model: "none", rounds: 1, cohort: { perRound: 2, quorum: 2 } }),
  });
  const look = (): void => {
    const { phase, stopped, global } = engine.run;
    if (phase !== "preparing") console.log(`prepared, listening on ${address}`);
    if (stopped !== undefined) console.log(`stopped: ${stopped.reason}`);
    if (phase === "finished")
      console.log(`finished ${global!.model.sha256} ${JSON.stringify(engine.rounds[0])}`);
  };
  engine.onEvent(look);
  look();
  process.on("message", async () => {
    console.log(`verified ${(await verify(engine, undefined)).map(({ equal }) => equal).join()}`);
    // Of this program alone: the maximum that getrusage tells includes the process that started it.
    const status = process.platform === "linux" ? readFileSync("/proc/self/status", "utf8") : "";
    const kib = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? process.resourceUsage().maxRSS);
    console.log(`peak ${kib * 1024}`);
  });
}

/** A blob of the same bytes but the last number, which becomes `value`. */
async function changed(blobs: ClientBlobs, path: string, size: number, value: number): Promise<BlobRef> {
  const fd = openSync(path, "r");
  const block = Buffer.alloc(2 ** 20);
  const written = await blobs.write((write) => {
    for (let at = 0; at < size; ) {
      const read = readSync(fd, block, 0, block.length, at);
      at += read;
      if (at === size) block.writeFloatLE(value, read - 4);
      write(block.subarray(0, read));
    }
  });
  closeSync(fd);
  return create(BlobRefSchema, { sha256: written.sha256, size: BigInt(written.size) });
}

function answer(directory: string, address: string, name: string): void {
  mkdirSync(directory, { recursive: true });
  const fleet = connectFleet(address, channelCredentials(INSECURE));
  const blobs = openDiskBlobs(directory);
  const transfer = createTransfer(fleet, blobs, name, {
    clock: systemClock,
    rng: createRng(name),
    onWait: ({ message }) => console.log(message),
  });
  const client = new FakeClient(fleet, name, {
    onTask: async (self, task) => {
      const control = { signal: self.signal, idleMs: 60_000, onProgress: () => {} };
      const named = ({ sha256, size }: BlobRef) => ({ sha256, size: Number(size) });
      const [config, model] = [task.adapterConfig!, task.adapterModel!];
      for (const blob of [config, model]) await transfer.fetch(named(blob), control);
      const value = name === "c1" ? 1 : 3;
      const update = await changed(blobs, join(directory, model.sha256), Number(model.size), value);
      for (const blob of [config, update]) await transfer.push(named(blob), task.taskId, control);
      const result = create(SubmitResultRequestSchema, {
        ...{ clientId: name, taskId: task.taskId, runId: task.runId, round: task.round },
        ...{ adapterConfig: config, adapterModel: update, trainedFrom: model.sha256 },
        ...{ examples: 10n, steps: 1n },
      });
      console.log(`verdict ${(await fleet.submitResult(result, self.signal)).verdict}`);
      return true;
    },
  });
  setInterval(() => client.say({ case: "heartbeat", value: { sequence: 0n } }), 10_000);
  client.ended.catch((error: unknown) => console.log(String(error)));
}

const [mode, directory, ...rest] = process.argv.slice(2) as [string, string, ...string[]];
if (mode === "coordinator") await coordinate(directory, Number(rest[0]));
else answer(directory, rest[0]!, rest[1]!);
