/**
 * The commands a user types, with real training on the shipped model: coordinator and clients in processes of
 * their own, the coordinator killed in round 3 and started again with the same command.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { sha256 } from "../../base/hash.ts";
import { embeddedModelDirectory } from "../../cli/demo/assets.ts";
import { freePort } from "./federation.ts";
import { type Child, startProcess, temporaryDirectory } from "./processes.ts";

const PROGRAM = join(import.meta.dirname, "../../bin/fedloom.mjs");
/** Training and evaluating four rounds on one thread each, several times over on a loaded machine. */
const TIMEOUT_MS = 240_000;
const SITES = ["harbor", "market"] as const;

function fedloom(...args: string[]): Child {
  return startProcess(PROGRAM, args);
}

async function prepare() {
  const out = join(temporaryDirectory(), "demo");
  await fedloom("demo", "--prepare", "--out", out, "--rounds", "4").finish();
  const address = `127.0.0.1:${await freePort()}`;
  const state = join(out, "state");
  const model = embeddedModelDirectory();
  const changes = ["cohort.perRound=2", "cohort.quorum=2", "evaluation.limit=16"].flatMap((set) => [
    "--set",
    set,
  ]);
  return {
    coordinator: () =>
      fedloom(
        ...["coordinator", "--state", state, "--listen", address, "--http", "127.0.0.1:0"],
        ...["--run", join(out, "demo.yaml"), ...changes, "--until-done", "--threads", "1"],
      ),
    client: (site: string) =>
      fedloom(
        ...["client", "--join", address, "--data", join(out, "data", site), "--model", model],
        ...["--state", join(out, site), "--name", site, "--threads", "1"],
      ),
    /** The hash of the final adapter, and the loss of each round. */
    outcome() {
      const [id] = readdirSync(join(state, "runs"));
      const run = join(state, "runs", id!);
      const rounds = readFileSync(join(run, "metrics.jsonl"), "utf8").trim().split("\n");
      return {
        adapter: sha256(readFileSync(join(run, "adapter", "adapter_model.safetensors"))),
        losses: rounds.map((line): number => JSON.parse(line).loss),
      };
    },
  };
}

test(
  "killed in round 3 and started again, real training ends with the adapter of the undisturbed run",
  async () => {
    const plain = await prepare();
    const undisturbed = plain.coordinator();
    const first = SITES.map(plain.client);
    await undisturbed.finish();
    await Promise.all(first.map((client) => client.kill("SIGINT")));

    const setting = await prepare();
    const killed = setting.coordinator();
    const [client] = SITES.map(setting.client);
    await client!.line(/"round":3,"msg":"Task received"/);
    await killed.kill();
    await setting.coordinator().finish();

    const { adapter, losses } = plain.outcome();
    expect(setting.outcome()).toEqual({ adapter, losses });
    expect(losses).toHaveLength(4);
    expect(losses[3]).toBeLessThan(losses[0]!);
  },
  TIMEOUT_MS,
);
