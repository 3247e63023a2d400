/**
 * One run file, twice, with real training on the shipped model: in one process as a fleet whose clients train one after
 * the other, and over sockets with a coordinator and clients in processes of their own.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { sha256 } from "../../base/hash.ts";
import { freePort } from "./federation.ts";
import { type Child, startProcess, temporaryDirectory } from "./processes.ts";

const PROGRAM = join(import.meta.dirname, "../../bin/fedloom.mjs");
const MODEL = join(import.meta.dirname, "../../assets/models/smolvlm-tiny");
/** Examples of each client. */
const SHARES = [3, 2];
/** Four processes that open a model and train, on a machine that does much else. */
const TIMEOUT_MS = 600_000;

const fedloom = (...args: string[]): Child => startProcess(PROGRAM, args);

test(
  "a fleet without batching and a networked run of the same file end with the same adapter",
  async () => {
    const out = temporaryDirectory();
    const data = join(out, "data");
    const partition = join(out, "partition.json");
    const file = join(out, "run.yaml");
    mkdirSync(data);
    writeFileSync(join(data, "train.jsonl"), questions().join("\n"));
    writeFileSync(partition, JSON.stringify({ version: 1, clients: sharesOf() }));
    const clients = SHARES.length;
    writeFileSync(
      file,
      JSON.stringify({
        name: "twice",
        model: MODEL,
        adapter: { rank: 4, alpha: 8, dropout: 0.1 },
        rounds: 2,
        seed: 11,
        cohort: { perRound: clients, quorum: clients, minClients: clients },
        training: { learning_rate: 1e-3, per_device_train_batch_size: 2 },
        fleet: { clients, data, partition, batching: false },
      }),
    );

    const alone = join(out, "alone");
    await fedloom("run", file, "--out", alone, "--threads", "1").finish();

    const networked = join(out, "networked");
    const address = `127.0.0.1:${await freePort()}`;
    const coordinator = fedloom(
      ...["coordinator", "--state", networked, "--listen", address, "--http", "127.0.0.1:0"],
      ...["--run", file, "--until-done", "--threads", "1"],
    );
    for (const i of SHARES.keys()) {
      fedloom(
        ...["client", "--join", address, "--data", data, "--shard", partition, "--client", String(i)],
        ...["--model", MODEL, "--state", join(out, `client-${i}`), "--name", `client-${i}`, "--threads", "1"],
      );
    }
    await coordinator.finish();
    expect(adapterHash(alone)).toBe(adapterHash(networked));
  },
  TIMEOUT_MS,
);

/** Unequal in length. */
function questions(): string[] {
  const all = SHARES.reduce((sum, count) => sum + count, 0);
  return Array.from({ length: all }, (_, i) =>
    JSON.stringify({
      id: `q${i}`,
      messages: [
        { role: "user", content: `What color ${"or shade ".repeat(i)}has thing ${i}?` },
        { role: "assistant", content: i % 2 === 0 ? "red" : "blue" },
      ],
    }),
  );
}

function sharesOf() {
  let next = 0;
  return SHARES.map((count, client) => ({
    client,
    examples: Array.from({ length: count }, () => ({ id: `q${next++}`, keep: ["text"] })),
  }));
}

function adapterHash(state: string): string {
  const [id] = readdirSync(join(state, "runs"));
  return sha256(readFileSync(join(state, "runs", id!, "adapter", "adapter_model.safetensors")));
}
