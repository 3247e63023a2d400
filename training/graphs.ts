/** Opens graphs of one model directory with the same device and threads, and closes what it opened. */
import { relative } from "node:path";
import { type TensorSet, tensorSet } from "../adapters/tensor.ts";
import { FedloomError } from "../base/errors.ts";
import { addedNorms, turnedLinears } from "./models/model-config.ts";
import type { ModelDirectory } from "./models/model-directory.ts";
import { type Decoding, openDecoding } from "./onnx/decoding.ts";
import { openGraphFile } from "./onnx/edge/files.ts";
import { readTargets } from "./onnx/edge/targets-file.ts";
import type { Engine, EngineOptions, GraphFile } from "./onnx/engine.ts";
import { openEngine } from "./onnx/open.ts";
import type { Device, Runtime } from "./onnx/runtime.ts";

export interface RuntimeOptions {
  /** What runs the programs; onnxruntime where absent. Whoever opened it closes it. */
  readonly runtime?: Runtime;
  readonly device?: Device;
  /** Threads of the runtime; its own choice where absent. Results are equal to the bit for an equal number only. */
  readonly threads?: number;
  /** "fast" repacks weights: a step takes less time, and memory grows by up to their size; last bits may differ. */
  readonly mode?: NonNullable<EngineOptions["mode"]>;
  /** Weights of frozen layers from which on what they give is kept (front-states.ts); LEAST_FRONT where absent. */
  readonly leastFront?: number;
}

/**
 * 16 MiB of float32: with fewer weights, to run a row alone once costs more than leaving its frozen layers out of some
 * ten later steps spares (docs/engine.md has figures).
 */
const LEAST_FRONT = 4 * 2 ** 20;

type Wanted = Pick<EngineOptions, "objective"> & Partial<Omit<EngineOptions, "file">>;

type DecodingWanted = Omit<Wanted, "objective"> & { readonly headSize?: number | undefined };

export interface Graphs {
  open(path: string, wanted: Wanted): Promise<Engine>;
  /** The decoder with its cache; undefined where the graph has none that generation can use. */
  openDecoding(path: string, wanted: DecodingWanted): Promise<Decoding | undefined>;
  close(): Promise<void>;
}

/** What a model directory says about its graphs beside the graphs themselves. */
export interface GraphHints {
  /** Where LoRA targets lie in a graph (fedloom.targets.json), by the graph's path. */
  mappingOf?(path: string): EngineOptions["mapping"];
  readonly addedNorms?: EngineOptions["addedNorms"];
  readonly turnedLinears?: EngineOptions["turnedLinears"];
}

/** @throws FedloomError F2110 where the targets file cannot be read */
export function hintsOf({
  path: directory,
  config,
}: Pick<ModelDirectory, "path" | "config">): Required<GraphHints> {
  const targets = readTargets(directory);
  return {
    mappingOf: (path) => targets[relative(directory, path).replaceAll("\\", "/")],
    addedNorms: addedNorms(config),
    turnedLinears: turnedLinears(config),
  };
}

export function graphsOf(runtime: RuntimeOptions, { mappingOf, ...hints }: GraphHints = {}): Graphs {
  const files = new Map<string, GraphFile>();
  const open = new Set<{ close(): Promise<void> }>();
  const fileOf = (path: string): GraphFile => {
    const file = files.get(path) ?? openGraphFile(path);
    files.set(path, file);
    return file;
  };
  const known = (path: string) => {
    const mapping = mappingOf?.(path);
    return { file: fileOf(path), ...hints, ...(mapping && { mapping }) };
  };
  return {
    async openDecoding(path, wanted) {
      const decoding = await openDecoding({
        ...known(path),
        lora: [],
        objective: "none",
        ...runtime,
        ...wanted,
      });
      if (decoding !== undefined) open.add(decoding);
      return decoding;
    },
    async open(path, wanted) {
      const engine = await openEngine({
        ...known(path),
        lora: [],
        leastFront: LEAST_FRONT,
        ...runtime,
        ...wanted,
      });
      open.add(engine);
      return engine;
    },
    async close() {
      await Promise.all([...open].map((engine) => engine.close()));
      open.clear();
    },
  };
}

/** A graph of a model, and the whole model's paths of its modules. */
export interface SavableGraph {
  readonly path: string;
  readonly objective: EngineOptions["objective"];
  readonly paths: readonly string[];
}

/**
 * Values that a model has for modules to be saved whole. As with PEFT a name means every module whose path ends with it,
 * letter by letter: "norm" is "input_layernorm" too. One that is no module's end is looked for by the forms that paths
 * may have.
 *
 * @throws FedloomError F2113 where modules are in none of the graphs
 */
export async function initialValuesOf(
  graphs: Graphs,
  modulesToSave: readonly string[],
  from: readonly SavableGraph[],
): Promise<TensorSet> {
  const saved = modulesToSave.flatMap((name) => {
    const paths = from.flatMap((graph) => graph.paths.filter((path) => path.endsWith(name)));
    return paths.length === 0 ? [name] : paths;
  });
  const engines: Engine[] = [];
  for (const { path, objective } of from) engines.push(await graphs.open(path, { objective, saved }));
  assertSavedPresent(saved, engines);
  return tensorSet(engines.flatMap((engine) => [...engine.initialValues()]));
}

/** @throws FedloomError F2113 where modules are in none of the graphs */
export function assertSavedPresent(saved: readonly string[], engines: readonly Engine[]): void {
  const missing = saved.filter((name) => engines.every(({ absent }) => absent.includes(name)));
  if (missing.length === 0) return;
  throw new FedloomError(
    "F2113",
    `Cannot train modules as a whole: ${missing.map((name) => `"${name}"`).join(", ")} of modulesToSave are in none of the trained graphs`,
    { missing },
  );
}
