/** One fleet in a process of its own: a line for every round. */
import { parseArgs } from "node:util";
import { silentLog } from "../../base/log.ts";
import { runConfig } from "../../config/run.ts";
import { startFleet } from "../../scenarios/fleet/fleet.ts";
import { clientName, type FleetClient } from "../../scenarios/fleet/shards.ts";
import type { Trainer } from "../../training/trainer.ts";
import type { FleetSpec, NanoSpec, RoundLine } from "./cases.ts";
import { echoTrainer } from "./echo-trainer.ts";

const { positionals } = parseArgs({ allowPositionals: true });
const spec: FleetSpec = JSON.parse(positionals[0]!);
const model = `${import.meta.dirname}/../../assets/models/fedloom-nano`;

function echoClients(count: number): FleetClient[] {
  const turns = [
    { role: "user", content: "?" },
    { role: "assistant", content: "!" },
  ] as const;
  return Array.from({ length: count }, (_, client) => {
    const id = clientName(client, count);
    return { id, shard: { train: [{ id, turns, images: [], audios: [] }], heldOut: [] } };
  });
}

/** The runtime and its pictures: clients that echo have no use for them, as those of the other side have not. */
async function nanoClients({ threads, clients }: NanoSpec): Promise<[Trainer, FleetClient[]]> {
  const { openOnnxTrainer } = await import("../../training/onnx-trainer.ts");
  const { drawnClients } = await import("./clients.ts");
  return [await openOnnxTrainer({ model, threads }), await drawnClients(clients)];
}

const [trainer, clients]: [Trainer, FleetClient[]] =
  spec.kind === "echo" ? [echoTrainer(spec.mib), echoClients(spec.clients)] : await nanoClients(spec);
const config = runConfig.parse({
  name: "bench",
  model,
  rounds: spec.rounds,
  seed: 1,
  // What the other side does not do either.
  diagnostics: false,
  keep: { last: 1 },
  cohort: { perRound: spec.clients, quorum: spec.clients },
  training: { learning_rate: 1e-3, per_device_train_batch_size: 1 },
});
const batching = spec.kind === "nano" ? spec.batching : false;
const fleet = await startFleet({ config, trainer, clients, batching, device: "cpu", log: silentLog });
fleet.engine.onEvent(({ event }) => {
  if (event.type !== "published") return;
  const line: RoundLine = { round: fleet.engine.rounds.length, at: performance.now() / 1000 };
  console.log(JSON.stringify(line));
});
await fleet.ended;
const { stopped } = fleet.engine.run;
await fleet.close();
await trainer.close();
if (stopped !== undefined) throw new Error(`The run stopped: ${stopped.reason}`);
