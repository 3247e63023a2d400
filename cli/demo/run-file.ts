/** The demo's run file. It is written beside the results, so that it can be read, changed and run again. */
import { SITES } from "./data.ts";

/** @param model absolute path of the base model; everything else lies beside the file */
export function demoRunFile({
  model,
  rounds,
  seed,
}: {
  model: string;
  rounds: number;
  seed: number;
}): string {
  return `# Four sites teach one adapter to sort parcels: by what they see, by what they read, or by both.
name: demo
model: ${JSON.stringify(model)}
adapter:
  rank: 8
  alpha: 16
  targets: [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]
rounds: ${rounds}
seed: ${seed}
cohort: { perRound: ${SITES.length}, quorum: ${SITES.length - 1}, deadline: 5m, idle: 20s }
strategy: { name: fedavg }
training:
  learning_rate: 5e-3
  num_train_epochs: 1
  per_device_train_batch_size: 8
  optim: adamw
  max_length: 128
evaluation:
  data: data/held-out
  metrics: [accuracy, loss]
  batchSize: 48
`;
}
