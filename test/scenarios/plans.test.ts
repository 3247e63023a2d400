import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { sha256 } from "../../base/hash.ts";
import { examplesOf } from "../../data/dataset.ts";
import { openDataset } from "../../data/open-dataset.ts";
import { encodePartition, examplesOfShard, readPartition, shardOf } from "../../data/shards.ts";
import { cleanPlan } from "../../scenarios/clean-plan.ts";
import { cleanCohort, publishedCohort } from "../../scenarios/client-sampling.ts";
import { publishedPlan } from "../../scenarios/fedmllm/published-plan.ts";
import { SCENARIO_NAMES, scenarioNamed } from "../../scenarios/fedmllm/scenario.ts";
import { publishedSampler } from "../../scenarios/fleet/published-sampler.ts";
import { pictureOf } from "../../scenarios/picture.ts";
import { countsOf, hashOfPlan } from "../../scenarios/plan.ts";
import { folder } from "../data/folder.ts";

const RAW = join(import.meta.dirname, "../golden/partitions/raw");

const memes = (count: number) =>
  folder({
    "train.jsonl": Array.from({ length: count }, (_, i) => ({
      id: i,
      img: `img/${i}.png`,
      label: i % 2,
      text: `text ${i}`,
    })),
  });

test("the scenarios' files are read, and the published levels stand in them", () => {
  expect(SCENARIO_NAMES.map((name) => scenarioNamed(name).level.published)).toEqual([
    [5, 1, 0.5],
    [0.3, 0.4, 0.5],
    [3, 5, 7],
    [0.2, 0.3, 0.4],
  ]);
  expect(() => scenarioNamed("mising")).toThrow('did you mean "missing"?');
});

describe.each(["a", "b", "q"])("every published cell of raw set %s", (set) => {
  const cells = SCENARIO_NAMES.flatMap((name) => {
    const scenario = scenarioNamed(name);
    return Object.keys(scenario.datasets).flatMap((dataset) =>
      scenario.level.published.map((level) => ({ scenario, dataset, level, name })),
    );
  });
  test.each(cells)(
    "$dataset, $name $level: each row once, one file a client",
    ({ scenario, dataset, level }) => {
      const plan = publishedPlan({ scenario, dataset, level, data: join(RAW, set) });
      expect(plan.partition.clients).toHaveLength(10);
      const ids = plan.partition.clients.flatMap((shard) => shard.examples.map((entry) => entry.id));
      expect(ids.length).toBeGreaterThan(0);
      expect(new Set(ids).size).toBe(ids.length);
      const outputs = [...plan.publishedFiles.keys()].filter((name) =>
        /minicpmv_data\/.*client_\d+\.json$/.test(name),
      );
      expect(outputs).toHaveLength(10);
      const picture = pictureOf(plan);
      expect(picture.match(/>client \d+<\/text>/g)).toHaveLength(10);
    },
  );
});

test("the published layout's bytes have the recorded hashes (set q, hateful-memes, alpha 0.5, missing 0.3)", () => {
  const plan = publishedPlan({
    scenario: scenarioNamed("missing"),
    dataset: "hateful-memes",
    level: 0.3,
    data: join(RAW, "q"),
  });
  const file = plan.publishedFiles.get(
    "data/hateful_memes/minicpmv_data/modality-missing/mrate-0.3/partition-alpha0.5-clt10/client_0.json",
  );
  // From the reference's q-hateful.json.gz: scenarios[11], missing 0.3 on partition 2, client 0.
  expect(sha256(file!()).slice(0, 16)).toBe("5e3f2c6285e03e49");
});

test("outside what is published the published mode refuses and lists what there is", () => {
  const missing = scenarioNamed("missing");
  const request = { scenario: missing, dataset: "hateful-memes", level: 0.35, data: RAW };
  expect(() => publishedPlan(request)).toThrow(/published are 0\.3, 0\.4, 0\.5.*"--mode clean" takes others/);
  expect(() => publishedPlan({ ...request, level: 0.3, dataset: "medical" })).toThrow(
    "it is published for hateful-memes, crisis-mmd",
  );
});

test.each([
  ["hateful-memes", "modality-missing-aug/mrate-0.5"],
  ["crisis-mmd", "modality-missing/mrate-0.5"],
])("the prompt strategy's files of %s lie where the authors' script writes them", (dataset, folderName) => {
  const request = { scenario: scenarioNamed("missing"), dataset, level: 0.5, data: join(RAW, "q") };
  const files = [...publishedPlan({ ...request, prompt: "modality-agnostic" }).publishedFiles.keys()];
  expect(
    files.filter((name) => name.includes(`/minicpmv_data/${folderName}/partition-alpha0.5-clt10/client_`)),
  ).toHaveLength(10);
});

test("a wording that no script writes is refused", () => {
  const request = {
    dataset: "hateful-memes",
    level: 5,
    data: join(RAW, "q"),
    prompt: "modality-agnostic" as const,
  };
  expect(() => publishedPlan({ ...request, scenario: scenarioNamed("aligned") })).toThrow(
    "it is published for missing, cross and hybrid",
  );
});

test("a label too rare for the published guard is refused, not waited for", () => {
  const aligned = scenarioNamed("aligned");
  expect(() =>
    publishedPlan({ scenario: aligned, dataset: "hateful-memes", level: 5, data: memes(12) }),
  ).toThrow("the published script never ends here");
});

test("missing files, missing fields and ids that come twice are told with their place", () => {
  const aligned = scenarioNamed("aligned");
  const plan = (data: string) => () =>
    publishedPlan({ scenario: aligned, dataset: "hateful-memes", level: 5, data });
  expect(plan(folder({}))).toThrow('"train.jsonl" is expected there, or below hateful_memes/ or raw_data/');
  expect(plan(folder({ "train.jsonl": [{ id: 1, img: "a", text: "t" }] }))).toThrow(
    /train\.jsonl:1: the row lacks "label"/,
  );
  const row = { id: 1, img: "a", text: "t", label: 0 };
  expect(plan(folder({ "train.jsonl": [row, row] }))).toThrow(
    /train\.jsonl:2: the id "1" is taken: line 1 has it/,
  );
});

test("a client order that does not name each client once is refused", () => {
  const request = {
    scenario: scenarioNamed("aligned"),
    dataset: "hateful-memes",
    level: 5,
    data: join(RAW, "a"),
  };
  expect(() => publishedPlan({ ...request, listing: [0, 1, 1] })).toThrow(
    "must name each of 10 clients once, got 0,1,1",
  );
});

const clean = async (data: string, request: Partial<Parameters<typeof cleanPlan>[0]> = {}) => {
  const examples = examplesOf(await openDataset(data, { checkMedia: false }), "train");
  return cleanPlan({
    what: "test",
    examples,
    deal: { name: "dirichlet", alpha: 0.5 },
    mask: { name: "aligned" },
    clients: 4,
    seed: 1,
    ...request,
  });
};

test("a clean plan has the same hash for the same seed and another for another", async () => {
  const data = memes(80);
  expect(hashOfPlan(await clean(data))).toBe(hashOfPlan(await clean(data)));
  expect(hashOfPlan(await clean(data, { seed: 2 }))).not.toBe(hashOfPlan(await clean(data)));
});

test("what a shard keeps decides the client's prompt and pictures", async () => {
  const data = memes(40);
  const plan = await clean(data, { mask: { name: "cross", imageClients: 2 } });
  const path = join(folder({}), "partition.json");
  writeFileSync(path, encodePartition(plan.partition));
  const examples = examplesOf(await openDataset(data, { checkMedia: false }), "train");
  for (let client = 0; client < 4; client++) {
    const shard = shardOf(readPartition(path), client);
    for (const example of examplesOfShard(shard, examples)) {
      const [prompt] = example.turns.map((turn) => turn.content);
      const hasPicture = example.images.length > 0;
      expect(prompt!.startsWith("<image>\n")).toBe(hasPicture);
      expect(prompt).toContain(hasPicture ? "based on the image?" : "based on the text?");
      expect(prompt!.includes(`text ${example.id}\n`)).toBe(!hasPicture);
    }
    const agnostic = examplesOfShard(shard, examples, "modality-agnostic");
    expect(agnostic[0]!.turns[0]!.content).toContain("hateful, without considering the modality?");
  }
});

test("a question without a template keeps its words; only its pictures can go", async () => {
  const data = folder({
    "train.jsonl": Array.from({ length: 20 }, (_, i) => ({
      question: `<image>\nq ${i}`,
      answer: "a",
      image: "a.png",
    })),
  });
  const plan = await clean(data, { mask: { name: "cross", imageClients: 2 }, deal: { name: "iid" } });
  const { kinds } = countsOf(plan);
  expect(kinds).toEqual(["text + image", "text only"]);
});

test("pictures and texts of a mixed dataset go to the clients that hold that kind", async () => {
  const plan = cleanPlan({
    what: "medical",
    examples: examplesOf(
      await openDataset(join(RAW, "q"), { format: "fedmllm-medical", checkMedia: false }),
      "train",
    ),
    deal: { name: "iid" },
    mask: { name: "cross", imageClients: 3 },
    clients: 10,
    seed: 1,
  });
  const kinds = plan.partition.clients.map((shard) =>
    [...new Set(shard.examples.map((entry) => entry.keep.join("+")))].join(" and "),
  );
  expect(kinds.filter((kind) => kind === "text+image")).toHaveLength(3);
  expect(kinds.filter((kind) => kind === "text")).toHaveLength(7);
});

test.each([
  ["no JSON", "{"],
  ["another version", '{"version":2,"clients":[]}'],
  [
    "a modality that is none",
    '{"version":1,"clients":[{"client":0,"examples":[{"id":"1","keep":["smell"]}]}]}',
  ],
  ["a client twice", '{"version":1,"clients":[{"client":0,"examples":[]},{"client":0,"examples":[]}]}'],
])("a partition file that holds %s is refused", (_, content) => {
  const path = join(folder({ "partition.json": content }), "partition.json");
  expect(() => readPartition(path)).toThrow(/Cannot use the partition .*partition\.json: /);
});

test("a shard that is not there, or names an example that is not there, is refused by name", () => {
  const partition = {
    version: 1 as const,
    clients: [{ client: 3, examples: [{ id: "x", keep: ["text" as const] }] }],
  };
  expect(() => shardOf(partition, 4)).toThrow("the partition holds clients 3 to 3");
  expect(() => examplesOfShard(shardOf(partition, 3), [])).toThrow('the dataset has no example "x"');
});

test("the picture survives labels that are not XML", async () => {
  const data = folder({
    "train.jsonl": [1, 2, 3, 4].map((i) => ({ question: "q", answer: "a", label: `<${i}> & "x"` })),
  });
  const picture = pictureOf(await clean(data));
  expect(picture).toContain("&lt;1&gt; &amp; &quot;x&quot;");
  expect(picture).not.toContain("<1>");
});

test("a cohort is all clients where there are not more, and a sorted sample otherwise", () => {
  expect(publishedCohort(0, 10, 2)).toEqual([6, 9]); // random.seed(0); sorted(random.sample(range(10), 2))
  expect(publishedCohort(0, 2, 5)).toEqual([0, 1]);
  const cohort = cleanCohort("seed", 3, 50, 7);
  expect(cohort).toHaveLength(7);
  expect(cohort).toEqual([...new Set(cohort)].sort((a, b) => a - b));
  expect(cleanCohort("seed", 3, 50, 7)).toEqual(cohort);
  expect(cleanCohort("other", 3, 50, 7)).not.toEqual(cohort);
});

test("the coordinator's published sampler counts rounds from 1 and clients by the numbers in their names", () => {
  const eligible = Array.from({ length: 12 }, (_, i) => `client-${i}`).sort(); // client-10 before client-2
  const draw = { seed: 5, round: 1, attempt: 1, eligible, count: 2 };
  expect(publishedSampler(draw)).toEqual(publishedCohort(0, 12, 2).map((i) => `client-${i}`));
  expect(publishedSampler({ ...draw, attempt: 2, seed: 6 })).toEqual(publishedSampler(draw));
});
