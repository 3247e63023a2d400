/** fedloom against the recorded answers of the published scripts; partitions/README.md describes the files. */
import { createHash } from "node:crypto";
import { afterAll, describe, expect, test } from "vitest";
import { sha256 } from "../../base/hash.ts";
import { member, plainText } from "../../data/formats/published-rows.ts";
import { normalizeVqa } from "../../data/metrics/vqa-normalize.ts";
import { dumpPythonJson } from "../../data/python/json.ts";
import { publishedCohort } from "../../scenarios/client-sampling.ts";
import { PythonRandom } from "../../scenarios/cpython/random.ts";
import { setDifferenceOrder } from "../../scenarios/cpython/set-order.ts";
import { evaluationPrompt, scoreChoices, scoreVqa } from "../../scenarios/fedmllm/published/evaluation.ts";
import { encodeMedicalSets } from "../../scenarios/fedmllm/published/medical.ts";
import { encodeRows, partitionRows } from "../../scenarios/fedmllm/published/partition.ts";
import { encodeRecords } from "../../scenarios/fedmllm/published/record.ts";
import { RandomState } from "../../scenarios/numpy/random-state.ts";
import { compared, count, GOLDEN, golden, goldenNames, goldenOptional } from "./partitions-directory.ts";
import {
  callNumpy,
  callPython,
  EXACT,
  type Program,
  pythonSeed,
  type RecordedSeed,
} from "./partitions-generators.ts";
import {
  hashesOf,
  letterOf,
  medicalRecords,
  medicalSets,
  plain,
  type RecordedDataset,
  type RecordedMedical,
  rawMedical,
  rawRows,
  recordsOfClient,
  runMedical,
  runScenario,
  taskOf,
} from "./partitions-scripts.ts";

/** Logarithms may differ in the last digit between maths libraries; the reference states this bound. */
const RELATIVE = 1e-13;

/** Equal, but floats within `relative` of each other. */
function expectClose(got: unknown, wanted: unknown, relative: number, where: string): void {
  if (Array.isArray(wanted)) {
    expect(Array.isArray(got) && got.length === wanted.length, where).toBe(true);
    wanted.forEach((item, i) => expectClose((got as unknown[])[i], item, relative, `${where}[${i}]`));
  } else if (typeof wanted === "number" && !Number.isInteger(wanted) && relative > 0) {
    expect(
      Math.abs((got as number) - wanted) <= relative * Math.abs(wanted),
      `${where}: ${got} ${wanted}`,
    ).toBe(true);
  } else expect(got, where).toEqual(wanted);
}

function replay(
  kind: string,
  programs: readonly Program[],
  start: () => (name: string, args: readonly unknown[]) => unknown,
) {
  for (const [p, program] of programs.entries()) {
    const call = start();
    for (const [i, [name, args, result]] of program.entries()) {
      expectClose(call(name, args), result, EXACT.has(name) ? 0 : RELATIVE, `program ${p} call ${i} ${name}`);
      count(kind);
    }
  }
}

function hashOfDoubles(values: readonly number[]): string {
  return createHash("sha256")
    .update(new Uint8Array(Float64Array.from(values).buffer))
    .digest("hex");
}

const python = goldenOptional<{ seeds: RecordedSeed[] }>("generators", "python-random.json");
describe.runIf(python !== undefined)("CPython's random", () => {
  test.each(python?.seeds ?? [])("agrees with every recorded call from seed $seed.text", (recorded) => {
    const seed = pythonSeed(recorded.seed as { kind: string; text: string });
    replay("calls of Python's random", recorded.programs, () => {
      const random = new PythonRandom(seed);
      return (name, args) => callPython(random, name, args);
    });
    for (const [name, long] of Object.entries(recorded.long)) {
      const random = new PythonRandom(seed);
      const draws = Array.from({ length: long.count }, () =>
        name === "random" ? random.random() : Number(random.getrandbits(32)),
      );
      expect(draws.slice(-long.last.length)).toEqual(long.last);
      if (name === "random") expect(hashOfDoubles(draws)).toBe(long.sha256float64le);
      else {
        const words = new Uint8Array(Uint32Array.from(draws).buffer);
        expect(createHash("sha256").update(words).digest("hex")).toBe(long.sha256uint32le);
      }
      count("long runs");
    }
  });
});

const numpy = goldenOptional<{ seeds: RecordedSeed[]; rejectedSeeds: [string, string][] }>(
  "generators",
  "numpy-legacy.json",
);
describe.runIf(numpy !== undefined)("numpy's RandomState", () => {
  test.each(numpy?.seeds ?? [])("agrees with every recorded call from seed $seed", (recorded) => {
    const seed = recorded.seed as number | number[];
    replay("calls of numpy's RandomState", recorded.programs, () => {
      const state = new RandomState(seed);
      return (name, args) => callNumpy(state, name, args);
    });
    for (const long of Object.values(recorded.long)) {
      const state = new RandomState(seed);
      const draws = Array.from({ length: long.count }, () => state.double());
      expect(draws.slice(-long.last.length)).toEqual(long.last);
      expect(hashOfDoubles(draws)).toBe(long.sha256float64le);
      count("long runs");
    }
  });

  test.each(numpy?.rejectedSeeds ?? [])("refuses the seed %s as numpy does", (text) => {
    expect(() => new RandomState(text.startsWith("'") ? Number.NaN : Number(text))).toThrow(RangeError);
    count("refused seeds");
  });
});

const setOrder = goldenOptional<{
  cases: { n: number; removed: number[]; order: number[] }[];
  exhaustive: string;
}>("generators", "python-set-order.json");
describe.runIf(setOrder !== undefined)("the order of a CPython set difference", () => {
  test("agrees with every recorded case", () => {
    for (const { n, removed, order } of setOrder!.cases) {
      expect(setDifferenceOrder(n, removed), `${n} without ${removed}`).toEqual(order);
      count("set orders");
    }
  });

  test("is ascending for every subset of ten that is not listed", () => {
    expect(setOrder!.exhaustive).toContain("n = 10");
    const listed = new Set(setOrder!.cases.filter(({ n }) => n === 10).map(({ removed }) => removed.join()));
    for (let bits = 0; bits < 2 ** 10; bits++) {
      const removed = Array.from({ length: 10 }, (_, i) => i).filter((i) => (bits >> i) & 1);
      if (listed.has(removed.join())) continue;
      const order = setDifferenceOrder(10, removed);
      expect(order, removed.join()).toEqual([...order].sort((a, b) => a - b));
      count("set orders");
    }
  });
});

type FloorCase = [alpha: number, clients: number, seed: number, floors: number[][]];
const floors = goldenOptional<{ cases: FloorCase[] }>("generators", "dirichlet-floors.json");
test.runIf(floors !== undefined)("Dirichlet draws cut to integers agree for every recorded seed", () => {
  const counts = [1000, 8500, 37];
  for (const [alpha, clients, seed, wanted] of floors!.cases) {
    const state = new RandomState(seed);
    const rows = counts.map((total) =>
      state.dirichlet(new Array<number>(clients).fill(alpha)).map((share) => Math.trunc(share * total)),
    );
    expect(rows, `alpha ${alpha}, ${clients} clients, seed ${seed}`).toEqual(wanted);
    count("Dirichlet draws");
  }
});

const datasets = goldenNames("golden", /^(?!full-).*-(hateful|crisis)\.json(\.gz)?$/).map((name) =>
  golden<RecordedDataset>("golden", name),
);
describe.each(datasets)("the partition scripts on set $set, $dataset", (recorded) => {
  const task = taskOf(recorded.dataset);
  const rows = rawRows(recorded.set, task, "train");
  const partitions = new Map(recorded.partitions.map((one) => [one.index, partitionRows(task, rows, one)]));

  test.each(recorded.partitions)(
    "give the recorded partition for alpha $alpha, $clients clients, seed $seed",
    (one) => {
      const got = partitions.get(one.index)!;
      expect(got.labels.map(plain)).toEqual(one.labelOrder);
      expectClose(got.proportions, one.proportions, RELATIVE, "proportions");
      expect(got.sizes).toEqual(one.sizes);
      expect(got.clients.map((own) => own.map((row) => plain(task.id(row))))).toEqual(one.order);
      expect(got.clients.map((own) => sha256(encodeRows(own)))).toEqual(one.sha256);
      count("partitions");
      count("hashes of partition files", one.sha256.length);
    },
  );

  test.each(recorded.scenarios)(
    "give the recorded files for $scenario $value on partition $partition, listing $listing",
    (one) => {
      const partition = partitions.get(one.partition)!;
      const got = runScenario(one, partition);
      expect(got.kept.map((own) => own.map(letterOf).join(""))).toEqual(one.kept);
      if (one.imageClients !== undefined) expect(got.imageClients).toEqual(one.imageClients);
      if (one.presence !== undefined) expect(got.presence).toEqual(one.presence);
      expect(hashesOf(task, partition, got, "standard")).toEqual(one.sha256);
      count("scenario runs");
      count("hashes of scenario files", one.sha256.length);
      if (one.sha256PromptStrategy === undefined) return;
      expect(hashesOf(task, partition, got, "modality-agnostic")).toEqual(one.sha256PromptStrategy);
      count("hashes of prompt strategy files", one.sha256PromptStrategy.length);
    },
  );
});

const medical = goldenNames("golden", /^(?!full-).*-medical\.json(\.gz)?$/).map((name) =>
  golden<RecordedMedical>("golden", name),
);
describe.each(medical)("the medical scripts on set $set", (recorded) => {
  const sets = medicalSets(recorded.set);

  test("prepare the recorded rows and files", () => {
    const numbers = (rows: readonly { index: number }[]): number[] => rows.map((row) => row.index);
    expect(numbers(sets.vqaTrain)).toEqual(recorded.processed.vqaradTrainRows);
    expect(numbers(sets.vqaTest)).toEqual(recorded.processed.vqaradTestRows);
    expect(numbers(sets.flashcards)).toEqual(recorded.processed.flashcardRows);
    const files = encodeMedicalSets(sets);
    for (const [name, hash] of Object.entries(recorded.processed.sha256)) {
      expect(sha256(files[name]!), name).toBe(hash);
      count("hashes of prepared medical files");
    }
  });

  test.each(recorded.runs)(
    "give the recorded files for $scenario $value, numpy seed $injectedNumpySeed",
    (one) => {
      count("medical runs");
      if (one.error !== undefined) {
        expect(() => runMedical(sets, one)).toThrow(/the published script divides by their number/);
        return;
      }
      const run = runMedical(sets, one);
      if (one.imageClients !== undefined) expect(run.imageClients).toEqual(one.imageClients);
      if (one.textClients !== undefined) expect(run.textClients).toEqual(one.textClients);
      if (one.presenceDrawn !== undefined) expect(run.presenceDrawn).toEqual(one.presenceDrawn);
      if (one.presenceFinal !== undefined) expect(run.presenceFinal).toEqual(one.presenceFinal);
      expect(run.clients.map((own) => own.map(({ id, kind, index }) => [id, kind[0], index]))).toEqual(
        one.assigned,
      );
      const hashes = run.clients.map((_, client) => sha256(encodeRecords(medicalRecords(sets, run, client))));
      expect(hashes).toEqual(one.sha256);
      count("hashes of medical files", hashes.length);
    },
  );
});

interface RecordedRecord {
  set: string;
  dataset: string;
  scenario?: string;
  value?: number | null;
  alpha?: number;
  aug?: boolean;
  run?: number;
  client: number;
  position: number;
  kept: string;
  record: unknown;
}

/** A client's records in the run that a recording speaks of. */
function recordsAt(
  at: Pick<RecordedRecord, "set" | "dataset" | "scenario" | "value" | "alpha" | "aug" | "run">,
  client: number,
) {
  if (at.dataset === "medical") {
    const recorded = medical.find(({ set }) => set === at.set)!;
    const one =
      at.run === undefined
        ? recorded.runs.find(({ scenario, value }) => scenario === at.scenario && value === at.value)!
        : recorded.runs[at.run]!;
    const sets = medicalSets(at.set);
    return medicalRecords(sets, runMedical(sets, one), client);
  }
  const recorded = datasets.find(({ set, dataset }) => set === at.set && dataset === at.dataset)!;
  const partition = recorded.partitions.find(({ alpha }) => alpha === at.alpha)!;
  const one = recorded.scenarios.find(
    (run) =>
      run.scenario === at.scenario &&
      run.value === (at.value ?? null) &&
      run.partition === partition.index &&
      run.listing === "sorted",
  )!;
  const task = taskOf(at.dataset);
  const got = partitionRows(task, rawRows(at.set, task, "train"), partition);
  const form = at.aug === true ? "modality-agnostic" : "standard";
  return recordsOfClient(task, got, runScenario(one, got), client, form);
}

const records = goldenOptional<RecordedRecord[]>("golden", "records.json") ?? [];
test.each(records)(
  "record $position of client $client in $set $dataset $scenario $value is the recorded one",
  (one) => {
    expect(plain(recordsAt(one, one.client)[one.position]!)).toEqual(one.record);
    count("records");
  },
);

const FULL = /^full-(\w+)-(\w+?)-([a-z]+)([\d.]+)?(?:-alpha([\d.]+?))?\.json(\.gz)?$/;
test.each(goldenNames("golden", FULL))("the whole output %s is the recorded one", (name) => {
  const [, set, dataset, scenario, value, alpha] = FULL.exec(name)!;
  const at = {
    set: set!,
    dataset: dataset!,
    scenario: scenario!,
    value: value === undefined ? null : Number(value),
    ...(alpha === undefined ? {} : { alpha: Number(alpha) }),
  };
  const wanted = golden<unknown[][]>("golden", name);
  expect(wanted.map((_, client) => recordsAt(at, client).map(plain))).toEqual(wanted);
  count("whole outputs");
});

interface TerminationCase {
  dataset: string;
  labelCounts: number[];
  clients: number;
  alpha: number;
  seed: number;
  terminates: boolean;
  order: number[][] | null;
}
const termination = goldenOptional<{ cases: TerminationCase[] }>("golden", "termination.json")?.cases ?? [];
test.each(termination)(
  "$dataset with label counts $labelCounts at alpha $alpha: the guard ends: $terminates",
  (one) => {
    const task = taskOf(one.dataset);
    const key = one.dataset === "hateful" ? "label" : "label_image";
    const labels = one.labelCounts.flatMap((total, label) => new Array<number>(total).fill(label));
    const rows = labels.map((label, i) => ({
      file: "rows",
      line: i + 1,
      index: i,
      members: new Map([[key, BigInt(label)]]),
    }));
    if (one.terminates) {
      const got = partitionRows(task, rows, one);
      expect(got.clients.map((own) => own.map((row) => row.index))).toEqual(one.order);
    } else {
      expect(() => partitionRows(task, rows, one)).toThrow(/the published script never ends here/);
    }
    count("termination cases");
  },
);

interface Combo {
  clients: number;
  perRound: number;
  firstRound: number;
  rounds: number[][];
}
const sampling = goldenOptional<{ combos: Combo[] }>("generators", "client-sampling.json")?.combos ?? [];
test.each(sampling)("$perRound of $clients clients are sampled as recorded", (one) => {
  const got = one.rounds.map((_, i) => publishedCohort(one.firstRound + i, one.clients, one.perRound));
  expect(got).toEqual(one.rounds);
  count("sampled rounds", one.rounds.length);
});

interface RecordedEvaluation {
  set: string;
  dataset: string;
  promptStrategy?: boolean;
  answers: (string | null)[];
  predicted?: number[];
  truth?: number[];
  qids?: unknown[];
  wrong?: number;
  normalised?: [string, string][];
  metric: Record<string, number | string>;
  images: string[];
  firstPrompts: string[];
  promptsSha256: string;
}
const evaluation = goldenOptional<{ normaliserProbes: [string, string][]; runs: RecordedEvaluation[] }>(
  "golden",
  "evaluation.json",
);
const runs = evaluation?.runs ?? [];
const hashOfPrompts = (prompts: string[]): string => sha256(dumpPythonJson(prompts, { ascii: false }));

test.each(evaluation?.normaliserProbes ?? [])(
  "the answer %j has the published normal form %j",
  (text, wanted) => {
    expect(normalizeVqa(text, "published")).toBe(wanted);
    count("normal forms of answers");
  },
);

test.each(runs.filter((run) => run.predicted !== undefined))(
  "$set $dataset, prompt strategy $promptStrategy: prompts, answers and score are the recorded ones",
  (run) => {
    const task = taskOf(run.dataset);
    const rows = rawRows(run.set, task, "test");
    const form = run.promptStrategy === true ? "modality-agnostic" : "standard";
    const prompts = rows.map((row) => evaluationPrompt(task, row, form));
    expect(prompts.slice(0, run.firstPrompts.length)).toEqual(run.firstPrompts);
    expect(hashOfPrompts(prompts)).toBe(run.promptsSha256);
    expect(rows.map((row) => task.image(row))).toEqual(run.images);
    const got = scoreChoices(task, rows, run.answers);
    expect(got.truth).toEqual(run.truth);
    expect(got.predicted).toEqual(run.predicted);
    expectClose(got.score, run.metric.value, RELATIVE, "score");
    count("evaluations");
  },
);

test.each(runs.filter((run) => run.normalised !== undefined))(
  "$set $dataset: questions, normal forms and scores are the recorded ones",
  (run) => {
    const rows = run.dataset === "slake" ? rawMedical(run.set).slake : medicalSets(run.set).vqaTest;
    const prompts = rows.map((row) => plainText(row, "question"));
    expect(prompts.slice(0, run.firstPrompts.length)).toEqual(run.firstPrompts);
    expect(hashOfPrompts(prompts)).toBe(run.promptsSha256);
    expect(rows.map((row) => plain(member(row, "qid")))).toEqual(run.qids);
    const got = scoreVqa(rows, run.answers);
    expect(got.normalized).toEqual(run.normalised);
    expect(got.wrong).toBe(run.wrong);
    expect({ agg_metrics: got.overall, ...Object.fromEntries(got.byType) }).toEqual(run.metric);
    count("evaluations");
  },
);

test("the reference folder was found and compared", () => {
  expect(compared.size, GOLDEN).toBeGreaterThan(0);
});

afterAll(() => {
  console.log(
    `${GOLDEN}\n${[...compared].map(([kind, n]) => `${String(n).padStart(8)} ${kind}`).join("\n")}`,
  );
});
