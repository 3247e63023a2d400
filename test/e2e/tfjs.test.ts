/** Two clients with `--trainer tfjs` and a coordinator, in processes of their own: the demo's task, on the shipped model. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { freePort } from "./federation.ts";
import { type Child, startProcess, temporaryDirectory } from "./processes.ts";

const PROGRAM = join(import.meta.dirname, "../../bin/fedloom.mjs");
const MODEL = join(import.meta.dirname, "../../assets/models/fedloom-nano");
/** Three processes that train and evaluate on one thread each, several times over on a loaded machine. */
const TIMEOUT_MS = 300_000;
const SITES = ["harbor", "market"];

const fedloom = (...args: string[]): Child => startProcess(PROGRAM, args);

test(
  "a federation trains on tfjs: clients say on what, the loss falls, a device that tfjs has not is refused",
  async () => {
    const out = join(temporaryDirectory(), "demo");
    await fedloom("demo", "--prepare", "--out", out, "--rounds", "3").finish();
    const address = `127.0.0.1:${await freePort()}`;
    const state = join(out, "state");
    const sets = ["cohort.perRound=2", "cohort.quorum=2", "evaluation.limit=12", "training.max_steps=4"];
    const coordinator = fedloom(
      ...["coordinator", "--state", state, "--listen", address, "--http", "127.0.0.1:0"],
      ...["--run", join(out, "demo.yaml"), "--until-done", "--threads", "1"],
      ...sets.flatMap((set) => ["--set", set]),
    );
    const clients = SITES.map((site) =>
      fedloom(
        ...["client", "--join", address, "--data", join(out, "data", site), "--model", MODEL],
        ...["--state", join(out, site), "--name", site, "--trainer", "tfjs", "--threads", "1"],
      ),
    );
    await clients[0]!.line(/Training with @tensorflow\/tfjs\S* 4\.\S+, backend (wasm|cpu|tensorflow)/);
    const refused = fedloom(
      ...["client", "--join", address, "--data", join(out, "data", "archive"), "--model", MODEL],
      ...["--state", join(out, "archive"), "--trainer", "tfjs", "--device", "webgpu"],
    );
    await refused.line(/^Cannot load the tfjs trainer for device "webgpu": .* \(F1005\)$/);
    await coordinator.finish();
    await Promise.all(clients.map((client) => client.kill("SIGINT")));

    const [id] = readdirSync(join(state, "runs"));
    const lines = readFileSync(join(state, "runs", id!, "metrics.jsonl"), "utf8")
      .trim()
      .split("\n");
    const rounds = lines.map((line): { ok: number; loss: number } => JSON.parse(line));
    expect(rounds.map(({ ok }) => ok)).toEqual([2, 2, 2]);
    expect(rounds[2]!.loss).toBeLessThan(0.7 * rounds[0]!.loss);
  },
  TIMEOUT_MS,
);
