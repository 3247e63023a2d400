/** The benchmark's scenarios as data: the YAML files beside this one. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { FedloomError } from "../../base/errors.ts";
import { nearest } from "../../base/nearest.ts";

export const SCENARIO_NAMES = ["aligned", "missing", "cross", "hybrid"] as const;
export type ScenarioName = (typeof SCENARIO_NAMES)[number];

export const DATASET_NAMES = ["hateful-memes", "crisis-mmd", "medical"] as const;
export type DatasetName = (typeof DATASET_NAMES)[number];

const seed = z.int().min(0);
const classification = z.strictObject({ partitionSeed: seed, modalitySeed: seed });

const scenarioSchema = z.strictObject({
  name: z.enum(SCENARIO_NAMES),
  summary: z.string(),
  level: z.strictObject({ means: z.string(), published: z.array(z.number()).min(1) }),
  clients: z.int().positive(),
  /** What the published scripts call it. */
  script: z.enum(["aligned", "missing", "single", "mix"]),
  /** Of the partition underneath, where the level says something else. */
  alpha: z.number().positive().optional(),
  datasets: z.strictObject({
    "hateful-memes": classification.optional(),
    "crisis-mmd": classification.optional(),
    medical: z.strictObject({ medicalSeed: seed, numpySeed: seed.optional() }).optional(),
  }),
  quirks: z.array(z.string()),
});

export type Scenario = z.output<typeof scenarioSchema>;

/** Each file is read once. */
const read = new Map<string, Scenario>();

/** @throws FedloomError F6002 for an unknown name, F6004 for a file of another form */
export function scenarioNamed(name: string): Scenario {
  const known = read.get(name);
  if (known !== undefined) return known;
  if (!SCENARIO_NAMES.some((known) => known === name)) {
    const near = nearest(name, SCENARIO_NAMES);
    throw new FedloomError(
      "F6002",
      `Cannot replay scenario "${name}": ${near === undefined ? "" : `did you mean "${near}"? `}fedmllm has ${SCENARIO_NAMES.join(", ")}`,
      { name },
    );
  }
  const path = join(import.meta.dirname, `${name}.yaml`);
  const parsed = scenarioSchema.safeParse(parse(readFileSync(path, "utf8")));
  if (parsed.success) {
    read.set(name, parsed.data);
    return parsed.data;
  }
  const issue = parsed.error.issues[0]!;
  throw new FedloomError("F6004", `${path}: ${issue.path.join(".")}: ${issue.message}`, { path });
}

/** @throws FedloomError F6002 unless the benchmark publishes this dataset in this scenario, and this level */
export function requirePublished(
  scenario: Scenario,
  dataset: string,
  level: number,
): asserts dataset is DatasetName {
  const datasets = DATASET_NAMES.filter((name) => scenario.datasets[name] !== undefined);
  if (!datasets.some((name) => name === dataset)) {
    throw new FedloomError(
      "F6002",
      `Cannot replay scenario "${scenario.name}" on "${dataset}" as published: it is published for ${datasets.join(", ")}`,
      { dataset, datasets },
    );
  }
  if (!scenario.level.published.includes(level)) {
    throw new FedloomError(
      "F6002",
      `Cannot replay scenario "${scenario.name}" at level ${level} as published: published are ${scenario.level.published.join(", ")} (${scenario.level.means}); "--mode clean" takes others`,
      { level, published: scenario.level.published },
    );
  }
}
