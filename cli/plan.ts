/** `fedloom plan`: what a run file would train, send and hold, before anything is started. */
import { statSync } from "node:fs";
import { encodeAdapter } from "../adapters/peft.ts";
import { byteLength } from "../adapters/tensor.ts";
import { factorPairs } from "../adapters/tensor-names.ts";
import { quorumOf } from "../config/run.ts";
import { firstAdapter } from "../scenarios/fleet/model-work.ts";
import { openModelDirectory } from "../training/models/model-directory.ts";
import { type Cli, type CommonOptions, collect } from "./cli.ts";
import { trafficOf } from "./plan/traffic.ts";
import { loadRunFile } from "./run-file.ts";
import { table } from "./table.ts";
import { openTrainer } from "./trainers.ts";
import { bytes } from "./units.ts";

interface PlanOptions extends CommonOptions {
  readonly set?: readonly string[];
}

export function registerPlan(cli: Cli): void {
  cli
    .command("plan <file>", "Show what a run file would train and send: parameters, bytes a round, memory.")
    .option("--set <key.path=value>", "replace a value of the file; may be given several times", collect)
    .action(async (file: string, options: PlanOptions) => {
      const plan = await planOf(file, options.set ?? []);
      cli.output(options).result("plan/1", plan, lines(plan));
    });
}

type Plan = Awaited<ReturnType<typeof planOf>>;

async function planOf(file: string, overrides: readonly string[]) {
  const { config } = await loadRunFile(file, overrides);
  const { graphs } = await openModelDirectory(config.model);
  const trainer = await openTrainer("onnx", { model: config.model, device: "cpu", threads: 1 });
  try {
    const adapter = await firstAdapter(trainer, config);
    const files = encodeAdapter(adapter);
    const adapterBytes = files.config.length + files.model.length;
    const tensors = [...adapter.tensors.values()];
    const { cohort } = config;
    const { downBytes, upBytes } = trafficOf(config, adapter);
    const perRound = cohort.mode === "async" ? cohort.buffer : cohort.perRound + cohort.overSelect;
    return {
      run: config.name,
      model: config.model,
      base: trainer.baseHash,
      modelBytes: Object.values(graphs).reduce((sum, path) => sum + statSync(path).size, 0),
      strategy: config.strategy.name,
      rounds: config.rounds,
      clients: perRound,
      quorum: quorumOf(config),
      ...(cohort.mode === "async" && { concurrency: cohort.concurrency, maxStaleness: cohort.maxStaleness }),
      modules: factorPairs(adapter.tensors.keys()).length,
      parameters: tensors.reduce((sum, { data }) => sum + data.length, 0),
      adapterBytes,
      /** What one client sends back, with the run's codec and what its strategy asks for. */
      updateBytes: upBytes,
      roundBytes: { down: perRound * downBytes, up: perRound * upBytes },
      runBytes: config.rounds * perRound * (downBytes + upBytes),
      /** AdamW's two moments and the gradient, beside the adapter itself. */
      clientStateBytes: 4 * tensors.reduce((sum, tensor) => sum + byteLength(tensor), 0),
      /** One tensor of every client and the float64 sum of it: updates wait on disk. */
      aggregationBytes: Math.max(...tensors.map(byteLength)) * (perRound + 2),
    };
  } finally {
    await trainer.close();
  }
}

function roundsLine({ rounds, clients, quorum, concurrency, maxStaleness }: Plan): string {
  if (concurrency === undefined) return `${rounds}, ${clients} clients each, quorum ${quorum}`;
  const stale = maxStaleness === undefined ? "" : `, at most ${maxStaleness} rounds stale`;
  return `${rounds}, ${clients} updates each${stale}; ${concurrency} clients train at any time`;
}

function lines(plan: Plan): string[] {
  return table(
    [{ title: "run" }, { title: plan.run }],
    [
      ["model", `${plan.model} (${bytes(plan.modelBytes)}, ${plan.base.slice(0, 12)})`],
      ["strategy", plan.strategy],
      ["rounds", roundsLine(plan)],
      ["trains", `${plan.parameters.toLocaleString("en")} parameters in ${plan.modules} modules`],
      ["adapter", `${bytes(plan.adapterBytes)}; an update has ${bytes(plan.updateBytes)}`],
      ["a round sends", `${bytes(plan.roundBytes.down)} down, ${bytes(plan.roundBytes.up)} up`],
      ["the run sends", bytes(plan.runBytes)],
      [
        "a client holds",
        `${bytes(plan.clientStateBytes)} of adapter, gradient and moments, beside the model`,
      ],
      ["aggregation holds", `${bytes(plan.aggregationBytes)} at once; updates wait on disk`],
    ],
  );
}
