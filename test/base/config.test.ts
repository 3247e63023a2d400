import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { checkConfig, loadConfig } from "../../base/config.ts";
import { parseConfig } from "../../base/config-document.ts";
import { FedloomError } from "../../base/errors.ts";

const schema = z.strictObject({
  name: z.string().min(1),
  rounds: z.int().positive().default(3),
  adapter: z
    .strictObject({ rank: z.int().min(1), targets: z.array(z.string()).min(1).optional() })
    .optional(),
  strategy: z
    .discriminatedUnion("name", [
      z.strictObject({ name: z.literal("fedavg"), weightBy: z.enum(["examples", "clients"]).optional() }),
      z.strictObject({ name: z.literal("krum"), f: z.int().min(0) }),
    ])
    .optional(),
  limits: z.record(z.string(), z.number()).optional(),
  threads: z.union([z.int(), z.literal("auto")]).optional(),
});

/** The lines of the error that a configuration raises. */
function problems(text: string, overrides: string[] = []): string[] {
  try {
    checkConfig(schema, parseConfig("run.yaml", text, overrides));
  } catch (error) {
    if (error instanceof FedloomError && error.code === "F1001") return error.message.split("\n");
    throw error;
  }
  return [];
}

describe("a configuration's errors", () => {
  test("name line and column of an unknown key, and the nearest known one", () => {
    expect(problems("name: a\nruonds: 4\n")).toEqual([
      'run.yaml:2:1: unknown key "ruonds": did you mean "rounds"?',
    ]);
  });

  test("look for the nearest key inside the map that holds the unknown one, through unions and defaults", () => {
    expect(problems("name: a\nstrategy:\n  name: fedavg\n  weight_by: clients\n")).toEqual([
      'run.yaml:4:3: unknown key "weight_by" in "strategy": did you mean "weightBy"?',
    ]);
  });

  test("list the known keys where none is near", () => {
    expect(problems("name: a\nadapter: { rank: 2, colour: red }\n")).toEqual([
      'run.yaml:2:21: unknown key "colour" in "adapter": known keys are rank, targets',
    ]);
  });

  test("name the wanted type and the value that was there", () => {
    expect(problems("name: a\nrounds: ten\n")).toEqual([
      'run.yaml:2:9: "rounds" must be a number, got "ten"',
    ]);
    expect(problems("name: a\nrounds: 2.5\n")).toEqual([
      'run.yaml:2:9: "rounds" must be a whole number, got 2.5',
    ]);
    expect(problems("name: a\nrounds: 0\n")).toEqual(['run.yaml:2:9: "rounds" must be above 0, got 0']);
    expect(problems("name: [a]\n")).toEqual(['run.yaml:1:7: "name" must be text, got a list of 1']);
    expect(problems('name: ""\n')).toEqual(['run.yaml:1:7: "name" must be text that is not empty, got ""']);
  });

  test("suggest the nearest choice", () => {
    expect(problems("name: a\nstrategy: { name: fedavg, weightBy: example }\n")).toEqual([
      'run.yaml:2:37: "strategy.weightBy" must be one of "examples", "clients", got "example"; did you mean "examples"?',
    ]);
    expect(problems("name: a\nstrategy: { name: fedavgg }\n")).toEqual([
      'run.yaml:2:19: "strategy.name" must be one of "fedavg", "krum", got "fedavgg"; did you mean "fedavg"?',
    ]);
  });

  test("say every form that a value may have", () => {
    expect(problems("name: a\nthreads: many\n")).toEqual([
      'run.yaml:2:10: "threads" must be a number or "auto", got "many"',
    ]);
  });

  test("point at the parent of a missing key", () => {
    expect(problems("name: a\nadapter:\n  targets: [q_proj]\n")).toEqual([
      'run.yaml:3:3: missing key "rank" in "adapter": it must be a number',
    ]);
  });

  test("point into lists and records", () => {
    expect(problems("name: a\nadapter:\n  rank: 1\n  targets:\n    - q_proj\n    - 7\n")).toEqual([
      'run.yaml:6:7: "adapter.targets.1" must be text, got 7',
    ]);
    expect(problems("name: a\nlimits: { bytes: much }\n")).toEqual([
      'run.yaml:2:18: "limits.bytes" must be a number, got "much"',
    ]);
  });

  test("come all at once", () => {
    expect(problems("nme: a\nrounds: ten\nadapter: 3\n")).toHaveLength(4); // nme, missing name, rounds, adapter
  });

  test("name a key that is given twice, and broken syntax, by line and column", () => {
    expect(problems("name: a\nrounds: 3\nrounds: 4\n")).toEqual([
      'run.yaml:3:1: key "rounds" is given twice in the same map',
    ]);
    expect(problems("name: [a\nrounds: 3\n")[0]).toMatch(/^run\.yaml:\d+:\d+: /);
  });

  test("show no long value and nothing from inside a map", () => {
    expect(problems(`name: a\nrounds: ${"x".repeat(500)}\n`)[0]!.length).toBeLessThan(150);
    expect(problems("name: { secret: 123 }\n")).toEqual(['run.yaml:1:7: "name" must be text, got a map']);
  });
});

describe("--set", () => {
  const parse = (overrides: string[]) =>
    checkConfig(schema, parseConfig("run.yaml", "name: a\nrounds: 3\n", overrides));

  test("replaces, makes missing maps, and the last one wins", () => {
    expect(
      parse(["rounds=7", "adapter.rank=2", "adapter.rank=4", "adapter.targets=[q_proj, v_proj]"]),
    ).toEqual({
      name: "a",
      rounds: 7,
      adapter: { rank: 4, targets: ["q_proj", "v_proj"] },
    });
  });

  test("keeps = and : in a value", () => {
    expect(parse(["name=a=b: c: d"]).name).toBe("a=b: c: d");
  });

  test("is named in errors about its value and its key", () => {
    expect(problems("name: a\n", ["rounds=many"])).toEqual([
      '--set rounds: "rounds" must be a number, got "many"',
    ]);
    expect(problems("name: a\n", ["adapter.rnak=1", "adapter.rank=1"])).toEqual([
      '--set adapter.rnak: unknown key "rnak" in "adapter": did you mean "rank"?',
    ]);
  });

  test("refuses a form it does not know, and a way through a value that is no map", () => {
    expect(problems("name: a\n", ["rounds"])[0]).toContain("must have the form key.path=value");
    expect(problems("name: a\n", ["name.first=b"])[0]).toContain("holds no map");
  });
});

test("paths in a file are relative to the file; absolute ones stay", async () => {
  const directory = await mkdtemp(join(tmpdir(), "fedloom-config-"));
  const file = join(directory, "run.yaml");
  await writeFile(file, "model: models/a\nfleet: { data: /data, partition: p.json }\n");
  const paths = z.strictObject({
    model: z.string(),
    fleet: z.strictObject({ data: z.string(), partition: z.string() }),
    other: z.string().optional(),
  });
  const { value } = await loadConfig(paths, file, {
    paths: ["model", "fleet.data", "fleet.partition", "other"],
  });
  expect(value).toEqual({
    model: join(directory, "models/a"),
    fleet: { data: "/data", partition: join(directory, "p.json") },
  });
});

test("a file that is not there is an error with a code", async () => {
  await expect(loadConfig(schema, "/nowhere/run.yaml")).rejects.toMatchObject({
    code: "F1002",
    message: expect.stringContaining('Cannot read "/nowhere/run.yaml": there is no such file'),
  });
});

test("of a file that is no YAML only the first problems are shown, all are in the details", () => {
  const text = Array.from({ length: 40 }, (_, i) => `word ${i}: [`).join("\n");
  const lines = problems(text);
  expect(lines.length).toBeLessThan(15);
  expect(lines.at(-1)).toMatch(/^and \d+ more$/);
});

test("an empty file is an empty map", () => {
  expect(problems("")).toEqual(['run.yaml:1:1: missing key "name": it must be text']);
});
