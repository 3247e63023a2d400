/** `fedloom aggregate` as users run it: on PEFT directories and on plain safetensors files. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { cast, floats } from "../../adapters/cast.ts";
import { readPeft, writePeft } from "../../adapters/peft.ts";
import { readSafetensors, writeSafetensors } from "../../adapters/safetensors.ts";
import { type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { CONFIG, setOf } from "../aggregators/small.ts";
import { start } from "./process.ts";

const A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
const B = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";
const GOLDEN = join(import.meta.dirname, "..", "golden", "aggregators", "fl_fedadam_0");
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "fedloom-aggregate-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function aggregate(...args: readonly string[]) {
  const { code, stdout, stderr } = await start(["aggregate", ...args]).ended;
  return { code, stderr, result: stdout === "" ? undefined : JSON.parse(stdout) };
}

function peft(name: string, a: readonly number[], b: readonly (readonly number[])[]): string {
  const directory = join(folder, name);
  writePeft(directory, { config: CONFIG, tensors: setOf({ [A]: [a], [B]: b }) });
  return directory;
}

test("averages PEFT directories by examples and writes a PEFT directory", async () => {
  const global = peft("global", [0, 0, 0], [[0], [0]]);
  const one = peft("one", [1, 2, 3], [[4], [8]]);
  const two = peft("two", [5, 6, 7], [[0], [0]]);
  const out = join(folder, "averaged");
  const { code, result, stderr } = await aggregate(
    ...["--strategy", "fedavg", "--global", global, "--update", `${one}:100`, "--update", `${two}:300`],
    ...["--out", out, "--json"],
  );
  expect(stderr).toBe("");
  expect(code).toBe(0);
  expect(result).toMatchObject({
    schema: "fedloom.aggregate/1",
    round: 1,
    updates: ["one", "two"],
    refused: [],
  });
  const { tensors, config } = readPeft(out);
  expect([...floats(tensors.get(A)!)]).toEqual([4, 5, 6]);
  expect([...floats(tensors.get(B)!)]).toEqual([1, 2]);
  expect(config.rank).toBe(1);
});

test("keeps the strategy's state between calls: golden rounds of FedAdam", async () => {
  const inputs = readSafetensors(readFileSync(join(GOLDEN, "inputs.safetensors")));
  const expected = readSafetensors(readFileSync(join(GOLDEN, "expected.safetensors")));
  const told = JSON.parse(readFileSync(join(GOLDEN, "case.json"), "utf8"));
  const below = (prefix: string): TensorSet =>
    tensorSet(
      [...inputs]
        .filter(([name]) => name.startsWith(prefix))
        .map(([name, value]) => [name.slice(prefix.length), cast(value, "F64")] as const),
    );
  const write = (name: string, tensors: TensorSet) => {
    const path = join(folder, `${name}.safetensors`);
    writeFileSync(path, writeSafetensors(tensors));
    return path;
  };
  let global = write("golden-global", below("global."));
  const { eta, beta_1, beta_2, tau } = told.hyperparameters;
  const config = JSON.stringify({ preset: "flower", learningRate: eta, beta1: beta_1, beta2: beta_2, tau });
  for (const { round, num_examples } of told.per_round.slice(0, 3)) {
    const updates = num_examples.flatMap((examples: number, k: number) => [
      "--update",
      `${write(`golden-r${round}-c${k}`, below(`r${round}.c${k}.`))}:${examples}`,
    ]);
    const out = join(folder, `golden-${round}`);
    const { code, stderr, result } = await aggregate(
      ...["--strategy", "fedadam", "--config", config, "--global", global, ...updates],
      ...["--state", join(folder, "golden-state"), "--out", out, "--json"],
    );
    expect(stderr).toBe("");
    expect(code).toBe(0);
    expect(result.round).toBe(round);
    global = join(out, "adapter_model.safetensors");
    for (const [name, value] of readSafetensors(readFileSync(global))) {
      const wanted = floats(expected.get(`r${round}.f64.${name}`)!);
      // The golden vectors' tolerance for a float64 engine.
      for (const [i, x] of floats(value).entries()) {
        expect(Math.abs(x - wanted[i]!)).toBeLessThan(1e-6 + 1e-6 * Math.abs(wanted[i]!));
      }
    }
  }
  expect(readdirSync(join(folder, "golden-state")).sort()).toEqual(["round.json", "state-3.safetensors"]);
});

test("names the client that it refuses and goes on without it", async () => {
  const global = peft("global-2", [0, 0, 0], [[0], [0]]);
  const good = peft("good", [1, 2, 3], [[4], [8]]);
  const bad = peft("bad", [1, Number.NaN, 3], [[4], [8]]);
  const { code, result } = await aggregate(
    ...["--strategy", "fedavg", "--global", global, "--update", good, "--update", bad],
    ...["--out", join(folder, "without-bad"), "--json"],
  );
  expect(code).toBe(0);
  expect(result.updates).toEqual(["good"]);
  expect(result.refused).toEqual([
    {
      client: "bad",
      code: "F3102",
      message: `Cannot use the update of client "bad": tensor "${A}" must be finite, got NaN at position 1`,
    },
  ]);
});

test("refuses a state that other settings left, and writes nothing when no update is usable", async () => {
  const global = peft("global-3", [0, 0, 0], [[0], [0]]);
  const one = peft("one-3", [1, 2, 3], [[4], [8]]);
  const state = join(folder, "state-3");
  const common = ["--global", global, "--update", one, "--state", state, "--out", join(folder, "out-3")];
  expect((await aggregate("--strategy", "fedavgm", ...common, "--json")).code).toBe(0);
  const other = await aggregate("--strategy", "fedadam", ...common);
  expect(other.code).toBe(4);
  expect(other.stderr).toMatch(
    /^Cannot go on from the state in ".*state-3": it was left by strategy "fedavgm".*\(F3113\)\n$/,
  );
  const none = await aggregate(
    ...["--strategy", "krum", "--global", global, "--update", one, "--out", join(folder, "nothing")],
  );
  expect(none.stderr).toBe(
    'Cannot aggregate round 1 with "krum": at least 5 usable updates are wanted, got 1 (F3103)\n',
  );
  expect(existsSync(join(folder, "nothing"))).toBe(false);
});

test("takes what strategies need beside the tensors: a set next to the update, metrics behind the examples", async () => {
  const global = peft("global-4", [0, 0, 0], [[0], [0]]);
  const updates = [1, 3].map((value, k) => {
    const directory = peft(`with-fisher-${k}`, [value, value, value], [[value], [value]]);
    mkdirSync(directory, { recursive: true });
    const fisher = setOf({ [A]: [[k === 0 ? 3 : 1, 1, 1]], [B]: [[1], [1]] });
    writeFileSync(join(directory, "fisher.safetensors"), writeSafetensors(fisher));
    return ["--update", `${directory}:10`];
  });
  const out = join(folder, "fisher");
  const { code, stderr } = await aggregate(
    "--strategy",
    "fisher",
    "--global",
    global,
    ...updates.flat(),
    "--out",
    out,
    "--json",
  );
  expect(stderr).toBe("");
  expect(code).toBe(0);
  expect([...floats(readPeft(out).tensors.get(A)!)]).toEqual([1.5, 2, 2]); // (3·1 + 1·3) / 4
  const one = peft("one-4", [1, 2, 3], [[4], [8]]);
  const fair = await aggregate(
    ...["--strategy", "qfedavg", "--global", global, "--update", `${one}:10,lossBefore=2`],
    ...["--out", join(folder, "fair"), "--json"],
  );
  expect(fair.code).toBe(0);
});

test("takes stale updates where the strategy can, and refuses them by its name where not", async () => {
  const global = peft("stale-global", [0, 0], [[0], [0], [0]]);
  const stale = peft("stale-update", [4, 4], [[8], [8], [8]]);
  const files = ["--global", global, "--update", `${stale}:10,staleness=3`, "--json"];
  const out = join(folder, "stale-out");
  const refused = await aggregate("--strategy", "fedavg", ...files, "--out", out);
  expect(refused.code).not.toBe(0);
  expect(JSON.parse(refused.stderr)).toMatchObject({
    code: "F3112",
    message: 'Cannot run strategy "fedavg": it takes only updates of the current round',
  });
  expect(existsSync(out)).toBe(false);
  const taken = await aggregate("--strategy", "fedbuff", ...files, "--out", out);
  expect(taken).toMatchObject({ code: 0, result: { report: { meanStaleness: 3 } } });
  // (1 + 3)^-1/2 = 1/2 of what it changed
  expect([...floats(readPeft(out).tensors.get(A)!)]).toEqual([2, 2]);
});
