/** A graph made ready for training: functions inlined, branches taken, modules found, everything trained among its inputs. */
import { compareNames } from "../../adapters/tensor.ts";
import { FedloomError } from "../../base/errors.ts";
import type { EngineOptions, LinearModule, ParameterSpec } from "./engine.ts";
import type { Graph } from "./graph.ts";
import { loadGraph } from "./load.ts";
import { factorName, type LoraPair, withLora } from "./lora.ts";
import { splitAttention } from "./lower/attention.ts";
import { resolveBranches } from "./lower/branches.ts";
import { withoutDeadNodes } from "./lower/dead.ts";
import { fixedInputs } from "./lower/fixed-inputs.ts";
import { inlineFunctions } from "./lower/functions.ts";
import { splitProducts } from "./lower/products.ts";
import { withoutSequences } from "./lower/sequences.ts";
import { upgrade } from "./lower/upgrade.ts";
import { NEWEST_OPSET } from "./rules/rule.ts";
import { findModules } from "./targets/find.ts";
import { matchModule, matchModules } from "./targets/match.ts";
import { matchNamed, type NamedModule, namedModules } from "./targets/named.ts";
import { type Reads, readsOf } from "./targets/reads.ts";
import { allCalls } from "./targets/twins.ts";
import { savedModule, savedNamed, type TrainedWeight, trainedInitializers, withTrained } from "./trained.ts";
import type { Weight } from "./weight.ts";

/** A graph of a file, ready for LoRA: functions inlined, branches taken, only what the output needs. */
export interface PreparedGraph {
  readonly graph: Graph;
  readonly output: string;
  readonly modules: readonly LinearModule[];
  /** Embeddings, norms, convolutions. */
  readonly named: readonly NamedModule[];
  readonly reads: Reads;
}

export function prepareGraph(
  options: Pick<EngineOptions, "file" | "output" | "mapping" | "addedNorms">,
): PreparedGraph {
  const loaded = inlineFunctions(loadGraph(options.file));
  const resolved = resolveBranches(loaded, fixedInputs(loaded.inputs));
  const output = options.output ?? mainOutput(resolved.outputs);
  if (!resolved.outputs.includes(output))
    throw new FedloomError(
      "F2110",
      `Cannot use "${options.file.name}": it must have output "${output}", got ${resolved.outputs.map((o) => `"${o}"`).join(", ")}`,
    );
  const alive = withoutSequences(withoutDeadNodes(resolved, [output]));
  const graph = upgrade(splitProducts(splitAttention(alive)), NEWEST_OPSET);
  const modules = findModules(graph, options.mapping);
  const named = namedModules(graph, modules, options.addedNorms);
  return { graph, output, modules, named, reads: readsOf(graph.inputs) };
}

/** Logits of a decoder, features of an encoder, whatever stands before them; else the first. */
export function mainOutput(outputs: readonly string[]): string {
  const named = ["logits", "image_features", "audio_features"].find((name) => outputs.includes(name));
  return named ?? outputs[0]!;
}

/** A graph with parameters. */
export interface PlacedGraph extends PreparedGraph {
  readonly parameters: readonly ParameterSpec[];
  readonly absent: readonly string[];
  readonly trained: readonly TrainedWeight[];
  readonly pairs: readonly LoraPair[];
  /** The graph with the factors of several clients. */
  place(clients: number): Graph;
  /** The graph as it was, which has the initial values. */
  readonly weights: ReadonlyMap<string, Weight>;
}

/** @throws FedloomError F2113 for weights that cannot be trained */
export function placeParameters(options: EngineOptions, prepared: PreparedGraph): PlacedGraph {
  const absent: string[] = [];
  const placed = matchModules(
    options.lora.map(({ path }) => path),
    prepared.modules,
    prepared.reads,
  );
  const found = (path: string, module: LinearModule | undefined): LinearModule | undefined => {
    if (module === undefined) absent.push(path);
    return module;
  };
  const pairs = options.lora.flatMap((spec): LoraPair[] => {
    const module = found(spec.path, placed.get(spec.path));
    const calls = module === undefined ? [] : allCalls(module, prepared.modules, prepared.graph.weights);
    return calls.map((call, number) => ({ module: call, spec, call: number }));
  });
  const saved = (options.saved ?? []).flatMap((path) => {
    const named = matchNamed(path, prepared.named, prepared.reads);
    if (named !== undefined) return savedNamed(prepared.graph, named, path);
    const module = found(path, matchModule(path, prepared.modules, prepared.reads));
    return module === undefined ? [] : savedModule(prepared.graph, module, path, options.turnedLinears);
  });
  const trained = [...saved, ...trainedInitializers(prepared.graph, options.trainable ?? [])];
  const factors = pairs.flatMap(({ module, spec, call }): ParameterSpec[] =>
    call > 0
      ? []
      : [
          { name: factorName(spec.path, "A"), shape: [spec.rank, module.in] },
          { name: factorName(spec.path, "B"), shape: [module.out, spec.rank] },
        ],
  );
  const parameters = [...factors, ...trained.map(({ parameter }) => parameter)];
  const place = (clients: number): Graph => withTrained(withLora(prepared.graph, pairs, clients), trained);
  return {
    ...prepared,
    graph: place(1),
    place,
    pairs,
    parameters: parameters.sort((a, b) => compareNames(a.name, b.name)),
    absent,
    trained,
    weights: prepared.graph.weights,
  };
}
