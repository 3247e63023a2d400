import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { silentLog } from "../../base/log.ts";
import { openCellProcess } from "../../cli/replay/cell-processes.ts";
import { estimateOf } from "../../cli/replay/estimate.ts";
import { openBenchmarkDataset } from "../../scenarios/replay/benchmark-data.ts";
import { type Cell, cellId } from "../../scenarios/replay/cell.ts";
import { type Protocols, profileNamed, type ReplayProfile } from "../../scenarios/replay/profiles.ts";
import { prepareReplay, replay } from "../../scenarios/replay/replay.ts";
import { baseHash } from "../../training/models/base-hash.ts";
import { openModelDirectory } from "../../training/models/model-directory.ts";
import { writePublishedFiles } from "../scenarios/replay/published-files.ts";
import { fedloom } from "./process.ts";

/** About ten seconds, and more on a busy machine. */
const TIMEOUT_MS = 300_000;
/** Idefics3 in three graphs, with image processor, tokenizer and chat template of its own. */
const TINY = join(import.meta.dirname, "../../assets/models/smolvlm-tiny");

let data: string;
let model: string;

beforeAll(async () => {
  data = mkdtempSync(join(tmpdir(), "fedloom-"));
  await writePublishedFiles(data);
  // Its positions are computed: the configuration alone bounds them, to fewer than the benchmark's prompts have bytes.
  model = mkdtempSync(join(tmpdir(), "fedloom-"));
  cpSync(TINY, model, { recursive: true });
  const config = JSON.parse(readFileSync(join(TINY, "config.json"), "utf8"));
  config.text_config.max_position_embeddings = 2048;
  writeFileSync(join(model, "config.json"), JSON.stringify(config));
  return () => {
    for (const directory of [data, model]) rmSync(directory, { recursive: true });
  };
}, TIMEOUT_MS);

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), "fedloom-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const missing = { scenario: "missing", level: 0.5 } as const;
const cells: readonly Cell[] = [
  { dataset: "hateful-memes", setting: missing, method: "fedavg", seed: 0 },
  { dataset: "crisis-mmd", setting: missing, method: "fedavg", seed: 0 },
  { dataset: "medical", setting: { scenario: "hybrid", level: 0.3 }, method: "fedavg", seed: 0 },
];

/** The short profile's protocols for large models, shorter. */
function profileOf(): ReplayProfile {
  const quick = profileNamed("quick");
  const shorter = Object.entries(quick.forLargeModels).map(([name, protocol]) => [
    name,
    { ...protocol, rounds: 1, localSteps: 1, lastRounds: 1, testLimit: 4 },
  ]);
  return { ...quick, cells, protocols: Object.fromEntries(shorter) as Protocols };
}

test(
  "a cell of each dataset, in files as published, trains a model with a processor of its own, after an estimate",
  async () => {
    const out = temporary();
    const profile = profileOf();
    const options = {
      profile,
      cells: undefined,
      out,
      data,
      model,
      baseHash: await baseHash(await openModelDirectory(model)),
      jobs: 1,
      retry: false,
    };
    const prepared = await prepareReplay(options);
    expect(prepared.data).toBe(data);
    const choice = { model, device: "cpu", threads: 1 } as const;
    const openRunner = () => openCellProcess({ choice, data, log: join(out, "log") });

    const estimate = await estimateOf(cells, profile.protocols, 1, openRunner);
    expect(estimate.data).toMatchObject({ cells: 3, failing: [] });
    expect(estimate.data.seconds).toBeGreaterThan(0);

    const jobs = { jobs: 1, openRunner, log: silentLog, onCell: () => {} };
    const { records } = await replay(options, prepared, jobs);
    const results = records.map((record) => {
      if (!record.ok) throw new Error(record.reason);
      return record.result;
    });
    expect(results.map(({ cell }) => cellId(cell))).toEqual(cells.map(cellId));
    const scored = ["auc-hard", "f1-macro", "vqa"].map((main, i) => results[i]!.metrics[main]!);
    for (const score of scored) expect(score >= 0 && score <= 100).toBe(true);
    expect(results[2]!.metrics).toHaveProperty("slake-vqa");
    // Two clients a round took an adapter down and sent another one up.
    for (const { bytesDown, bytesUp, adapter } of results) {
      expect(Math.min(bytesDown, bytesUp)).toBeGreaterThan(10_000);
      expect(adapter).toMatch(/^[0-9a-f]{64}$/);
    }
  },
  TIMEOUT_MS,
);

test.each([
  ["hateful-memes", "hateful_memes/train.jsonl"],
  ["hateful-memes", "hateful_memes/test_seen.jsonl"],
  ["crisis-mmd", "crisis-mmd/crisismmd_datasplit_all/task_humanitarian_text_img_train.tsv"],
  ["crisis-mmd", "crisis-mmd/crisismmd_datasplit_all/task_humanitarian_text_img_test.tsv"],
  ["medical", "medical/VQA_RAD Dataset Public.json"],
  ["medical", "medical/medical_meadow_wikidoc_medical_flashcards.json"],
] as const)("of %s the file %s is wanted by name", async (dataset, file) => {
  const part = temporary();
  cpSync(data, part, { recursive: true });
  rmSync(join(part, file));
  const opening = openBenchmarkDataset(dataset, part, 4);
  const name = file.slice(file.indexOf("/") + 1);
  await expect(opening).rejects.toMatchObject({
    code: "F2002",
    message: expect.stringContaining(`"${name}" is expected there`),
  });
});

test(
  "a file that is not there is told by the estimate and by the cells that want it; the others go on, and it once the file is there",
  async () => {
    const [out, part] = [temporary(), temporary()];
    cpSync(data, part, { recursive: true });
    rmSync(join(part, "crisis-mmd/crisismmd_datasplit_all/task_humanitarian_text_img_test.tsv"));
    const named = /"crisismmd_datasplit_all\/task_humanitarian_text_img_test\.tsv" is expected there/;
    const command = ["replay", "fedmllm", "--data", part, "--model", model, "--out", out, "--jobs", "1"];
    const first = await fedloom(...command, "--cells", "*/all/zero-shot");
    expect(first.code).toBe(8);
    expect(first.stderr).toMatch(new RegExp(`1 cells of crisis-mmd will fail: .*${named.source}`));
    expect(first.stderr).toMatch(new RegExp(`crisis-mmd/all/zero-shot/seed-0 .*failed: .*${named.source}`));
    expect(first.stdout).toContain("2 cells finished, 1 failed");
    expect(readFileSync(join(out, "report.md"), "utf8")).toMatch(named);

    cpSync(data, part, { recursive: true });
    const again = await fedloom(...command, "--cells", "*/all/zero-shot");
    expect(again.code).toBe(0);
    expect(again.stderr.match(/\(kept\)/g)).toHaveLength(2);
  },
  TIMEOUT_MS,
);
