/**
 * The table of roads: which folder may import which. Types count as imports. To add a road, change the table
 * in a commit of its own and say why.
 */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "..");

const ROADS: Readonly<Record<string, readonly string[]>> = {
  base: [],
  config: ["base"],
  proto: ["base"],
  adapters: ["base"],
  privacy: ["base", "adapters"],
  aggregators: ["base", "config", "adapters", "privacy"],
  data: ["base", "config"],
  training: ["base", "config", "adapters", "data"],
  server: ["base", "config", "proto", "adapters", "privacy", "aggregators"],
  client: ["base", "config", "proto", "adapters", "privacy", "data", "training"],
  scenarios: [
    "base",
    "config",
    "proto",
    "adapters",
    "privacy",
    "aggregators",
    "data",
    "training",
    "server",
    "client",
  ],
  cli: [
    "base",
    "config",
    "proto",
    "adapters",
    "privacy",
    "aggregators",
    "data",
    "training",
    "server",
    "client",
    "scenarios",
  ],
};

/** Longest source file. A reader should hold a file in mind; what grows past this wants splitting. */
const MAX_LINES = 400;
/** Names that say nothing about the idea inside. */
const EMPTY_NAMES = /^(utils?|helpers?|common|misc|managers?)\.ts$/;
/** Written by a generator, with its own header. */
const GENERATED = /^(proto|training)\/.*gen\//;

interface Source {
  readonly path: string;
  readonly folder: string;
  readonly text: string;
}

function sourcesOf(folder: string): Source[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => join(folder, name))
    .filter((path) => statSync(join(root, path)).isFile() && !GENERATED.test(path))
    .map((path) => ({ path, folder, text: readFileSync(join(root, path), "utf8") }));
}

const sources = Object.keys(ROADS).flatMap(sourcesOf);

function importsOf(source: Source): string[] {
  const found = source.text.matchAll(/(?:\bfrom\s+|\bimport\s*\(\s*|^import\s+)["']([^"']+)["']/gm);
  return [...found].map((match) => match[1]!);
}

test.each(Object.keys(ROADS))("folder %s holds sources", (folder) => {
  expect(sources.filter((source) => source.folder === folder).length).toBeGreaterThan(0);
});

test("every import follows a road of the table", () => {
  const wrong = sources.flatMap((source) =>
    importsOf(source)
      .filter((name) => name.startsWith("."))
      .map((name) => relative(root, resolve(root, dirname(source.path), name)).split("/")[0]!)
      .filter((to) => to !== source.folder && !ROADS[source.folder]!.includes(to) && to in ROADS)
      .map((to) => `${source.path} imports ${to}/`),
  );
  expect(wrong).toEqual([]);
});

test("no source imports from outside the table, and none imports tests or benches", () => {
  const wrong = sources.flatMap((source) =>
    importsOf(source)
      .filter((name) => name.startsWith("."))
      .map((name) => relative(root, resolve(root, dirname(source.path), name)))
      .filter((to) => !(to.split("/")[0]! in ROADS) && !to.endsWith(".json"))
      .map((to) => `${source.path} imports ${to}`),
  );
  expect(wrong).toEqual([]);
});

test("files have no cycles of imports", () => {
  const graph = new Map(
    sources.map((source) => [
      source.path,
      importsOf(source)
        .filter((name) => name.startsWith("."))
        .map((name) => relative(root, resolve(root, dirname(source.path), name))),
    ]),
  );
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path);
    if (at >= 0) cycles.push([...trail.slice(at), path].join(" -> "));
    if (at >= 0 || done.has(path)) return;
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  // The table of error codes is built from the files of its families, which take its type.
  for (const path of graph.keys()) if (!path.startsWith("base/error-codes/")) visit(path, []);
  expect(cycles.filter((cycle) => !cycle.includes("base/error-codes/"))).toEqual([]);
});

test(`no source is longer than ${MAX_LINES} lines`, () => {
  const long = sources
    .map((source) => ({ path: source.path, lines: source.text.split("\n").length - 1 }))
    .filter(({ lines }) => lines > MAX_LINES);
  expect(long).toEqual([]);
});

test("file names name ideas", () => {
  const empty = sources.filter((source) => EMPTY_NAMES.test(source.path.split("/").at(-1)!));
  expect(empty.map((source) => source.path)).toEqual([]);
});

test("chance and time come from base/", () => {
  const wrong = sources
    .filter((source) => source.folder !== "base" && /\bMath\.random\b|\bDate\.now\b/.test(source.text))
    .map((source) => source.path);
  expect(wrong).toEqual([]);
});

test("the core of the training engine imports no module of Node", () => {
  const wrong = sources
    .filter(
      (source) => source.path.startsWith("training/onnx/") && !source.path.startsWith("training/onnx/edge/"),
    )
    .flatMap((source) =>
      importsOf(source)
        .filter((name) => name.startsWith("node:") || name.startsWith("onnxruntime-"))
        .map((name) => `${source.path} imports ${name}`),
    );
  expect(wrong).toEqual([]);
});
