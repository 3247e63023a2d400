import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { afterEach, expect, test, vi } from "vitest";
import { sha256 } from "../../base/hash.ts";
import { Cli } from "../../cli/cli.ts";
import { registerData } from "../../cli/data.ts";
import { registerPartition } from "../../cli/partition.ts";
import { readPartition } from "../../data/shards.ts";
import { folder } from "../data/folder.ts";
import { golden } from "../golden/partitions-directory.ts";

const ROOT = join(import.meta.dirname, "../..");
const RAW = join(ROOT, "test/golden/partitions/raw");

afterEach(() => {
  vi.restoreAllMocks();
});

/** Runs one command in this process; what it wrote to standard output. */
async function fedloom(...argv: string[]): Promise<{ out: string; exitCode: number }> {
  let out = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    out += String(text);
    return true;
  });
  const cli = new Cli(new Command("fedloom"));
  registerPartition(cli);
  registerData(cli);
  await cli.program.parseAsync(argv, { from: "user" });
  vi.restoreAllMocks();
  return { out, exitCode: cli.exitCode };
}

const benchmark = (out: string, dataset: string, scenario: string, level: string, data = "a") => [
  ...["partition", "--benchmark", "fedmllm", "--dataset", dataset, "--scenario", scenario, "--level", level],
  ...["--data", join(RAW, data), "--out", out],
];

test("--format published writes the recorded bytes, and partition.json with them", async () => {
  const out = folder({});
  await fedloom(
    ...benchmark(out, "crisis-mmd", "hybrid", "0.4", "b"),
    "--format",
    "published",
    "--prompt",
    "modality-agnostic",
  );
  interface Recorded {
    scenarios: {
      scenario: string;
      value: number;
      alpha: number;
      listing: string;
      sha256PromptStrategy: string[];
    }[];
  }
  const recorded = golden<Recorded>("golden", "b-crisis.json.gz").scenarios.find(
    (one) => one.scenario === "mix" && one.value === 0.4 && one.alpha === 0.5 && one.listing === "sorted",
  )!;
  const below = "data/crisis-mmd/minicpmv_data/modality-mix/qrate-0.4/partition-alpha0.5-clt10";
  const hashes = recorded.sha256PromptStrategy.map((_, client) =>
    sha256(readFileSync(join(out, below, `client_${client}.json`))),
  );
  expect(hashes).toEqual(recorded.sha256PromptStrategy);
  expect(readPartition(join(out, "partition.json")).clients).toHaveLength(10);
});

test("the table counts client x label x modality, and the hash is partition.json's", async () => {
  const out = folder({});
  const { out: text } = await fedloom(...benchmark(out, "hateful-memes", "cross", "3"));
  expect(text).toMatch(/client {2}examples {2}not-hateful {2}hateful {2}image only {2}text only/);
  expect(text).toMatch(/\n {3}all {6}3000 {9}1920 {5}1080 /);
  expect(text).toContain(`sha256 ${sha256(readFileSync(join(out, "partition.json")))}`);
});

test("--json names its schema and the files", async () => {
  const out = folder({});
  const { out: text } = await fedloom(
    ...benchmark(out, "medical", "hybrid", "0.3", "q"),
    "--numpy-seed",
    "41",
    "--json",
  );
  expect(JSON.parse(text)).toMatchObject({
    schema: "fedloom.partition/1",
    files: [join(out, "partition.json"), join(out, "partition.svg")],
    title: "medical, hybrid 0.3, as published (seed 41), numpy seed 41",
  });
});

test("any dataset is dealt cleanly", async () => {
  const data = folder({
    "train.jsonl": Array.from({ length: 30 }, (_, i) => ({
      question: `q${i}`,
      answer: "a",
      label: `l${i % 3}`,
    })),
  });
  const out = folder({});
  await fedloom(
    "partition",
    "--data",
    data,
    "--out",
    out,
    "--deal",
    "label-shards",
    "--clients",
    "3",
    "--shards-per-client",
    "1",
  );
  const labels = readPartition(join(out, "partition.json")).clients.map(
    (shard) => new Set(shard.examples.map((entry) => (Number(entry.id.split(":")[1]) - 1) % 3)).size,
  );
  expect(labels).toEqual([1, 1, 1]);
});

test.each([
  [
    "a published partition without a level",
    ["--benchmark", "fedmllm", "--dataset", "hateful-memes"],
    "--dataset and --level are wanted",
  ],
  ["a level that is no number", ["--level", "much"], "a number is wanted"],
  ["the published layout of a clean partition", ["--format", "published"], "it takes --mode published"],
  ["a mask without its level", ["--scenario", "cross"], "--level is wanted"],
])("%s is refused", async (_, more, message) => {
  const data = folder({ "train.jsonl": [{ question: "q", answer: "a" }] });
  await expect(fedloom("partition", "--data", data, "--out", folder({}), ...more)).rejects.toThrow(message);
});

test("data inspect counts examples whose pictures are missing, tells them, and ends with exit code 8", async () => {
  const { out, exitCode } = await fedloom("data", "inspect", join(RAW, "q/hateful_memes"), "--show", "1");
  expect(out).toContain("q/hateful_memes: hateful-memes");
  expect(out).toMatch(/train +60 +0 +0 +60 +0 {2}not-hateful \d+, hateful \d+/);
  expect(out).toContain('example "6215", label not-hateful');
  expect(out).toMatch(/74 problems:\n.*train\.jsonl:1: "img\/06215\.png" is not there/);
  expect(exitCode).toBe(8);
});

test("data inspect --decode finds a picture that is none", async () => {
  const data = folder({
    "train.jsonl": [{ question: "<image>?", answer: "a", image: "a.png" }],
    "a.png": "no picture",
  });
  const { out } = await fedloom("data", "inspect", data, "--decode");
  expect(out).toMatch(/1 problem:\n.*a\.png: the picture cannot be decoded: /);
  expect((await fedloom("data", "inspect", data)).out).toContain("No problems.");
});

const PICTURES = ["hateful-memes", "crisis-mmd", "medical"].flatMap((dataset) =>
  (dataset === "medical" ? ["cross", "hybrid"] : ["aligned", "missing", "cross", "hybrid"]).map(
    (scenario) => ({
      dataset,
      scenario,
      level: { aligned: "0.5", missing: "0.4", cross: "5", hybrid: "0.3" }[scenario]!,
    }),
  ),
);
test.each(PICTURES)(
  "docs/scenarios shows $dataset, $scenario $level as it is drawn now",
  async ({ dataset, scenario, level }) => {
    const out = folder({});
    await fedloom(...benchmark(out, dataset, scenario, level));
    const drawn = readFileSync(join(out, "partition.svg"), "utf8");
    expect(drawn).toBe(readFileSync(join(ROOT, "docs/scenarios", `${dataset}-${scenario}.svg`), "utf8"));
  },
);
