/** The coordinator of the benchmark in a process of its own: everything but a model. Its one argument is JSON. */
import type { Adapter } from "../../adapters/adapter.ts";
import { float32, type Tensor, tensorSet } from "../../adapters/tensor.ts";
import { silentLog } from "../../base/log.ts";
import { runConfig } from "../../config/run.ts";
import { startCoordinator } from "../../server/start.ts";

export interface ServerOptions {
  readonly state: string;
  readonly listen: string;
  readonly clients: number;
  readonly payloadMib: number;
  readonly rounds: number;
}

/** What it prints, a line each, as JSON. */
export type ServerLine =
  | { readonly kind: "listening"; readonly address: string }
  | { readonly kind: "offered" }
  | {
      readonly kind: "round";
      readonly round: number;
      readonly durationMs: number;
      readonly rssMib: number;
      readonly peakRssMib: number;
    }
  | { readonly kind: "finished"; readonly adapter: string };

const WIDTH = 2048;
const RANK = 8;
/** A and B of one module: 2 x 64 KiB. Less than a MiB is one module at least. */
const MODULES_PER_MIB = 8;

function adapterOf(payloadMib: number): Adapter {
  const tensors = Array.from(
    { length: Math.max(1, Math.round(payloadMib * MODULES_PER_MIB)) },
    (_, layer) => {
      const path = `base_model.model.layers.${layer}.q_proj`;
      return [
        [`${path}.lora_A.weight`, float32([RANK, WIDTH], new Float32Array(RANK * WIDTH).fill(0.5))],
        [`${path}.lora_B.weight`, float32([WIDTH, RANK], new Float32Array(RANK * WIDTH).fill(0.25))],
      ] as [string, Tensor][];
    },
  );
  const config = { base: "", rank: RANK, alpha: 8, rslora: false, dropout: 0, targets: ["q_proj"] };
  return {
    config: { ...config, rankPattern: {}, alphaPattern: {}, modulesToSave: [] },
    tensors: tensorSet(tensors.flat()),
  };
}

const options: ServerOptions = JSON.parse(process.argv[2]!);
const say = (line: ServerLine): void => console.log(JSON.stringify(line));
process.on("disconnect", () => process.exit(0));

const { coordinator, address } = await startCoordinator({
  state: options.state,
  listen: options.listen,
  log: silentLog,
  model: { createAdapter: async () => adapterOf(options.payloadMib) },
});
const engine = await coordinator.submitRun({
  key: "bench",
  config: runConfig.parse({
    name: "bench",
    model: "none",
    rounds: options.rounds,
    diagnostics: false,
    cohort: { perRound: options.clients, quorum: options.clients, deadline: "1h", idle: "10m" },
  }),
});
say({ kind: "listening", address: address! });
engine.onEvent(({ event }) => {
  if (event.type === "round opened" && event.round === 1) say({ kind: "offered" });
  if (event.type === "published") {
    const { round, durationMs } = engine.rounds.at(-1)!;
    const rssMib = process.memoryUsage.rss() / 2 ** 20;
    say({ kind: "round", round, durationMs, rssMib, peakRssMib: process.resourceUsage().maxRSS / 1024 });
  }
  if (event.type === "finished") say({ kind: "finished", adapter: engine.run.global!.model.sha256 });
});
