/** Opens a graph for training: finds its modules, puts LoRA beside them, and runs what compile.ts makes. */
import { compareNames, type Tensor, type TensorSet, tensor, tensorSet } from "../../adapters/tensor.ts";
import { FedloomError } from "../../base/errors.ts";
import { compile, gradientName, NAMES, type Plan } from "./compile.ts";
import { dropoutMask } from "./edge/masks.ts";
import { onnxRuntime } from "./edge/session.ts";
import type { Batch, Engine, EngineOptions, LinearModule, ParameterSpec, StepResult } from "./engine.ts";
import type { Graph, GraphInput } from "./graph.ts";
import { completeInputs, labelledRows, rowBucket } from "./inputs.ts";
import { loadGraph } from "./load.ts";
import { factorName, type LoraPair, withLora } from "./lora.ts";
import { splitAttention } from "./lower/attention.ts";
import { resolveBranches } from "./lower/branches.ts";
import { withoutDeadNodes } from "./lower/dead.ts";
import { inlineFunctions } from "./lower/functions.ts";
import { upgrade } from "./lower/upgrade.ts";
import { MASK, withMasks } from "./lowerings/lora-input.ts";
import type { Program, Value } from "./program.ts";
import { NEWEST_OPSET } from "./rules/rule.ts";
import type { Session } from "./runtime.ts";
import { DataNeeded } from "./specialize.ts";
import { findModules } from "./targets/find.ts";
import { matchModule } from "./targets/match.ts";
import {
  initialValue,
  savedModule,
  type TrainedWeight,
  trainedInitializers,
  withTrained,
} from "./trained.ts";
import { type Weight, weightOf } from "./weight.ts";

/** Training always takes the branch without a cache. */
const FIXED_INPUTS = new Map([["use_cache_branch", weightOf("BOOL", [1], Uint8Array.of(0))]]);

const MAX_SESSIONS = 8;

/** A graph of a file, ready for LoRA: functions inlined, branches taken, only what the output needs. */
export interface PreparedGraph {
  readonly graph: Graph;
  readonly output: string;
  readonly modules: readonly LinearModule[];
  /** Whether it reads pictures or sounds instead of tokens. */
  readonly isEncoder: boolean;
}

export function prepareGraph(options: Pick<EngineOptions, "file" | "output" | "mapping">): PreparedGraph {
  const loaded = inlineFunctions(loadGraph(options.file));
  const resolved = resolveBranches(loaded, FIXED_INPUTS);
  const output = options.output ?? resolved.outputs[0]!;
  if (!resolved.outputs.includes(output))
    throw new FedloomError(
      "F2110",
      `Cannot use "${options.file.name}": it must have output "${output}", got ${resolved.outputs.map((o) => `"${o}"`).join(", ")}`,
    );
  const graph = upgrade(splitAttention(withoutDeadNodes(resolved, [output])), NEWEST_OPSET);
  const isEncoder = !graph.inputs.some(({ name }) => name === "input_ids" || name === "inputs_embeds");
  return { graph, output, modules: findModules(graph, options.mapping), isEncoder };
}

/** @throws FedloomError F2101, F2110, F2111, F2113 as the graph and the options deserve */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  return new GraphEngine(options, placeParameters(options, prepareGraph(options)));
}

interface Placed extends PreparedGraph {
  readonly parameters: readonly ParameterSpec[];
  readonly absent: readonly string[];
  readonly trained: readonly TrainedWeight[];
  /** The graph as it was, which has the initial values. */
  readonly weights: ReadonlyMap<string, Weight>;
}

/** The graph with everything trained among its inputs. */
function placeParameters(options: EngineOptions, prepared: PreparedGraph): Placed {
  const absent: string[] = [];
  const find = (path: string): LinearModule | undefined => {
    const module = matchModule(path, prepared.modules, prepared.isEncoder);
    if (module === undefined) absent.push(path);
    return module;
  };
  const pairs = options.lora.flatMap((spec): LoraPair[] => {
    const module = find(spec.path);
    return module === undefined ? [] : [{ module, spec }];
  });
  const saved = (options.saved ?? []).flatMap((path) => {
    const module = find(path);
    return module === undefined ? [] : savedModule(prepared.graph, module, path);
  });
  const trained = [...saved, ...trainedInitializers(prepared.graph, options.trainable ?? [])];
  const factors = pairs.flatMap(({ module, spec }): ParameterSpec[] => [
    { name: factorName(spec.path, "A"), shape: [spec.rank, module.in] },
    { name: factorName(spec.path, "B"), shape: [module.out, spec.rank] },
  ]);
  const parameters = [...factors, ...trained.map(({ parameter }) => parameter)];
  return {
    ...prepared,
    graph: withTrained(withLora(prepared.graph, pairs), trained),
    parameters: parameters.sort((a, b) => compareNames(a.name, b.name)),
    absent,
    trained,
    weights: prepared.graph.weights,
  };
}

class GraphEngine implements Engine {
  readonly inputs: readonly GraphInput[];
  readonly modules: readonly LinearModule[];
  readonly parameters: readonly ParameterSpec[];
  readonly absent: readonly string[];
  readonly #options: EngineOptions;
  readonly #placed: Placed;
  readonly #graph: Graph;
  readonly #output: string;
  /** With dropout on its LoRA branches, for training with a seed. */
  readonly #dropping: Graph | undefined;
  /** By shapes and plan, the longest unused first. */
  readonly #sessions = new Map<string, Session>();
  readonly #masks = new WeakMap<Session, readonly Value[]>();

  constructor(options: EngineOptions, placed: Placed) {
    this.#options = options;
    this.#placed = placed;
    this.#graph = placed.graph;
    const { dropout = 0 } = options;
    this.#dropping = dropout > 0 ? withMasks(placed.graph, 1 - dropout) : undefined;
    this.#output = placed.output;
    const names = new Set(placed.parameters.map(({ name }) => name));
    this.inputs = placed.graph.inputs.filter(({ name }) => !names.has(name));
    this.modules = placed.modules;
    this.parameters = placed.parameters;
    this.absent = placed.absent;
  }

  initialValues(): TensorSet {
    const { trained, weights } = this.#placed;
    return tensorSet(
      trained.map((each) => [each.parameter.name, initialValue(each, weights.get(each.weight)!)]),
    );
  }

  async step(batch: Batch, parameters: TensorSet): Promise<StepResult> {
    const { objective } = this.#options;
    if (objective === "none") throw new TypeError("An engine without an objective has no step");
    const { rows, labels } = labelledRows(batch, objective);
    const inputs = this.#inputs(batch);
    const total = batch.labels!.data.length;
    const bucket = rowBucket(rows.length);
    const all = bucket >= total;
    const count = all ? total : bucket;
    // With all rows computed, a row stands at its own place; else at the place of its label.
    const places = rows.map((row, i) => (all ? row : i));
    const labelData = new BigInt64Array(count);
    const weightData = new Float32Array(count);
    const rowData = new BigInt64Array(count);
    places.forEach((place, i) => {
      labelData[place] = labels[i]!;
      weightData[place] = 1;
      rowData[place] = BigInt(rows[i]!);
    });
    const plan: Plan = {
      kind: "loss",
      output: this.#output,
      rows: all ? undefined : count,
      wanted: this.#wanted(),
    };
    const results = await this.#run(plan, inputs, batch.seed, parameters, [
      [NAMES.labels, tensor("I64", [count, 1], labelData)],
      [NAMES.weights, tensor("F32", [count, 1], weightData)],
      [NAMES.rows, tensor("I64", [count], rowData)],
    ]);
    const lossSum = results.get(NAMES.loss)!.data[0] as number; // F32
    return { lossSum, labels: rows.length, ...this.#gradients(results) };
  }

  async forward(batch: Batch, parameters: TensorSet, rows?: readonly number[]): Promise<Tensor> {
    const inputs = this.#inputs(batch);
    const count = rows === undefined ? undefined : rowBucket(rows.length);
    const plan: Plan = { kind: "forward", output: this.#output, rows: count, wanted: [] };
    const rowData = BigInt64Array.from({ length: count ?? 0 }, (_, i) => BigInt(rows?.[i] ?? 0));
    const results = await this.#run(plan, inputs, batch.seed, parameters, [
      [NAMES.rows, tensor("I64", [count ?? 0], rowData)],
    ]);
    const output = results.get(NAMES.output)!;
    return rows === undefined
      ? output
      : rowsOf(output, rows, output.shape.length === 2 && output.shape[0] === count);
  }

  async backward(
    batch: Batch,
    parameters: TensorSet,
    outputGradient: Tensor,
  ): Promise<Pick<StepResult, "gradients" | "inputGradients">> {
    const plan: Plan = { kind: "backward", output: this.#output, wanted: this.#wanted() };
    const results = await this.#run(plan, this.#inputs(batch), batch.seed, parameters, [
      [NAMES.outputGradient, outputGradient],
    ]);
    return this.#gradients(results);
  }

  async close(): Promise<void> {
    for (const session of this.#sessions.values()) await session.close();
    this.#sessions.clear();
  }

  #wanted(): readonly string[] {
    const { frozen, inputGradients = [] } = this.#options;
    const pattern = frozen === undefined ? undefined : new RegExp(frozen);
    const names = this.parameters.map(({ name }) => name);
    return [...names.filter((name) => !pattern?.test(name)), ...inputGradients];
  }

  #inputs(batch: Batch): TensorSet {
    const names = new Set(this.parameters.map(({ name }) => name));
    return completeInputs(this.#graph, batch, (name) => names.has(name));
  }

  #gradients(results: TensorSet): Pick<StepResult, "gradients" | "inputGradients"> {
    const pick = (names: readonly string[]): TensorSet =>
      tensorSet(
        names.flatMap((name) => {
          const gradient = results.get(gradientName(name));
          return gradient === undefined ? [] : [[name, gradient] as const];
        }),
      );
    return {
      gradients: pick(this.parameters.map(({ name }) => name)),
      inputGradients: pick(this.#options.inputGradients ?? []),
    };
  }

  async #run(
    plan: Plan,
    inputs: TensorSet,
    seed: string | undefined,
    parameters: TensorSet,
    extra: readonly (readonly [string, Tensor])[],
  ): Promise<TensorSet> {
    const feeds = new Map([...inputs, ...this.#checked(parameters), ...extra]);
    const dropping = seed === undefined ? undefined : this.#dropping;
    const session = await this.#sessionFor(plan, inputs, feeds, dropping);
    const keep = 1 - (this.#options.dropout ?? 0);
    for (const { name, shape } of this.#masks.get(session) ?? [])
      feeds.set(name, dropoutMask(seed ?? "", name, shape, keep));
    return session.run(tensorSet(session.inputs.map((name) => [name, feeds.get(name)!] as const)));
  }

  #checked(parameters: TensorSet): TensorSet {
    return tensorSet(
      this.parameters.map(({ name, shape }) => {
        const value = parameters.get(name);
        if (value?.dtype === "F32" && value.shape.join() === shape.join()) return [name, value];
        throw new FedloomError(
          "F2114",
          `Cannot use parameter "${name}": it must be F32 [${shape.join(", ")}], got ${value ? `${value.dtype} [${value.shape.join(", ")}]` : "none"}`,
          { parameter: name },
        );
      }),
    );
  }

  async #sessionFor(
    plan: Plan,
    inputs: TensorSet,
    feeds: TensorSet,
    dropping: Graph | undefined,
  ): Promise<Session> {
    const shapes = [...inputs].map(([name, value]) => `${name}[${value.shape.join()}]`).join(" ");
    let key = `${plan.kind} ${plan.rows} ${dropping === undefined ? "" : "dropout "}${shapes}`;
    const known = new Map<string, Weight>();
    for (;;) {
      const open = this.#sessions.get(key);
      if (open !== undefined) {
        this.#sessions.delete(key);
        this.#sessions.set(key, open);
        return open;
      }
      const needed = this.#needed.get(key);
      try {
        if (needed !== undefined) throw needed;
        const program = compile(dropping ?? this.#graph, plan, inputs, known);
        const session = await this.#open(program);
        this.#masks.set(
          session,
          program.inputs.filter(({ name }) => name.startsWith(MASK)),
        );
        return await this.#keep(key, session);
      } catch (error) {
        if (!(error instanceof DataNeeded)) throw error;
        // Found again under the same key without compiling, for the next batch of these shapes.
        this.#needed.set(key, error);
        const weight = await this.#valueOf(error.valueName, inputs, feeds, known);
        known.set(error.valueName, weight);
        key += ` ${error.valueName}=${weight.bytes().join()}`;
      }
    }
  }

  readonly #needed = new Map<string, DataNeeded>();

  /** Computes one value of the graph from the batch. */
  async #valueOf(
    name: string,
    inputs: TensorSet,
    feeds: TensorSet,
    known: ReadonlyMap<string, Weight>,
  ): Promise<Weight> {
    const plan: Plan = { kind: "forward", output: name, wanted: [] };
    const graph = withoutDeadNodes(this.#graph, [name]);
    const program = compile(graph, plan, inputs, known);
    const session = await this.#open(program);
    try {
      const results = await session.run(tensorSet(session.inputs.map((n) => [n, feeds.get(n)!] as const)));
      const { dtype, shape, data } = results.get(NAMES.output)!;
      return weightOf(dtype, shape, data);
    } finally {
      await session.close();
    }
  }

  #open(program: Program): Promise<Session> {
    const { file, device = "cpu", threads, mode = "lean", runtime = onnxRuntime } = this.#options;
    const opset = this.#graph.opsets.get("") ?? 1;
    return runtime.open(program, {
      folder: file.folder,
      opset,
      device,
      threads,
      packWeights: mode === "fast",
    });
  }

  async #keep(key: string, session: Session): Promise<Session> {
    this.#sessions.set(key, session);
    const limit = this.#options.maxSessions ?? MAX_SESSIONS;
    for (const [old, other] of this.#sessions) {
      if (this.#sessions.size <= limit) break;
      this.#sessions.delete(old);
      await other.close();
    }
    return session;
  }
}

/** The asked rows of an output that holds them in order (and some more), or of one that holds all rows. */
function rowsOf(output: Tensor, rows: readonly number[], inOrder: boolean): Tensor {
  const width = output.shape.at(-1)!;
  const data = output.data as Float32Array;
  if (inOrder) return tensor(output.dtype, [rows.length, width], data.slice(0, rows.length * width));
  const picked = new Float32Array(rows.length * width);
  rows.forEach((row, i) => {
    picked.set(data.subarray(row * width, (row + 1) * width), i * width);
  });
  return tensor("F32", [rows.length, width], picked);
}
