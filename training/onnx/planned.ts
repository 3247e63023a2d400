/** Sessions of one graph by plan and shapes: compiled when first asked for, kept while there is room (sessions.ts). */
import { type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { compile, NAMES, type Plan } from "./compile.ts";
import { onnxRuntime } from "./edge/session.ts";
import type { EngineOptions } from "./engine.ts";
import { estimateMemory, type MemoryEstimate } from "./estimate.ts";
import type { Graph } from "./graph.ts";
import { withLargeWeights } from "./large-weights.ts";
import { withLeftWeights } from "./left-weights.ts";
import { withoutDeadNodes } from "./lower/dead.ts";
import { MASK, withMasks } from "./lowerings/lora-input.ts";
import type { PlacedGraph } from "./prepare.ts";
import type { Program, Value } from "./program.ts";
import type { Session } from "./runtime.ts";
import { withScoreFloors } from "./score-floor.ts";
import { Sessions } from "./sessions.ts";
import { DataNeeded } from "./specialize.ts";
import { tidied } from "./tidy.ts";
import { type Weight, weightOf } from "./weight.ts";

/** What a plan is compiled for. */
export interface PlannedFor {
  /** Whose factors the parameters hold, in front of their own axes where there are several. */
  readonly clients: number;
  /** Whether LoRA branches drop elements of their inputs. */
  readonly dropping: boolean;
  readonly inputs: TensorSet;
}

export interface PlannedSession {
  readonly session: Session;
  /** Dropout masks among its inputs. */
  readonly masks: readonly Value[];
}

export class PlannedSessions {
  readonly #options: EngineOptions;
  readonly #placed: PlacedGraph;
  readonly #graphs = new Map<string, Graph>();
  /** By shapes and plan, the longest unused first. */
  readonly #sessions: Sessions;
  readonly #masks = new WeakMap<Session, readonly Value[]>();
  readonly #needed = new Map<string, DataNeeded>();
  readonly #estimates = new Map<string, MemoryEstimate>();

  constructor(options: EngineOptions, placed: PlacedGraph) {
    this.#options = options;
    this.#placed = placed;
    this.#sessions = new Sessions(options.maxSessions);
  }

  /** @param feeds what the program may be run with: values that shapes depend on are computed from it */
  async of(plan: Plan, how: PlannedFor, feeds: TensorSet): Promise<PlannedSession> {
    let key = keyOf(plan, how);
    const known = new Map<string, Weight>();
    for (;;) {
      const open = this.#sessions.get(key);
      if (open !== undefined) return { session: open, masks: this.#masks.get(open)! };
      const needed = this.#needed.get(key);
      try {
        if (needed !== undefined) throw needed;
        const program = this.#compile(this.#graphFor(how), plan, how.inputs, known);
        const session = await this.#sessions.keep(key, await this.#open(program), program);
        const masks = program.inputs.filter(({ name }) => name.startsWith(MASK));
        this.#masks.set(session, masks);
        return { session, masks };
      } catch (error) {
        if (!(error instanceof DataNeeded)) throw error;
        // Found again under the same key without compiling, for the next batch of these shapes.
        this.#needed.set(key, error);
        const weight = await this.#valueOf(error.valueName, how.inputs, feeds, known);
        known.set(error.valueName, weight);
        key += ` ${error.valueName}=${weight.bytes().join()}`;
      }
    }
  }

  /** What such a session takes; none is opened but for values that shapes depend on. Asked for again, it is known. */
  async estimate(plan: Plan, how: PlannedFor, feeds: TensorSet): Promise<MemoryEstimate> {
    const key = keyOf(plan, how);
    const before = this.#estimates.get(key);
    if (before !== undefined) return before;
    const known = new Map<string, Weight>();
    for (;;) {
      try {
        const program = this.#compile(this.#graphFor(how), plan, how.inputs, known);
        const estimate = estimateMemory(program, this.#options.mode === "fast");
        if (known.size === 0) this.#estimates.set(key, estimate);
        return estimate;
      } catch (error) {
        if (!(error instanceof DataNeeded)) throw error;
        known.set(error.valueName, await this.#valueOf(error.valueName, how.inputs, feeds, known));
      }
    }
  }

  async close(): Promise<void> {
    await this.#sessions.close();
  }

  /** With the factors of so many clients, and with dropout on its LoRA branches or without. */
  #graphFor({ clients, dropping }: PlannedFor): Graph {
    const key = `${clients} ${dropping}`;
    const known = this.#graphs.get(key);
    if (known !== undefined) return known;
    const plain = clients === 1 ? this.#placed.graph : this.#placed.place(clients);
    const graph = dropping ? withMasks(plain, 1 - (this.#options.dropout ?? 0)) : plain;
    this.#graphs.set(key, graph);
    return graph;
  }

  /** Computes one value of the graph from the batch. */
  async #valueOf(
    name: string,
    inputs: TensorSet,
    feeds: TensorSet,
    known: ReadonlyMap<string, Weight>,
  ): Promise<Weight> {
    const plan: Plan = { kind: "forward", output: name, wanted: [] };
    const graph = withoutDeadNodes(this.#placed.graph, [name]);
    const session = await this.#open(this.#compile(graph, plan, inputs, known));
    try {
      const results = await session.run(tensorSet(session.inputs.map((n) => [n, feeds.get(n)!] as const)));
      const { dtype, shape, data } = results.get(NAMES.output)!;
      return weightOf(dtype, shape, data);
    } finally {
      await session.close();
    }
  }

  /** With the kernels that the runtime has right on its device. */
  #compile(graph: Graph, plan: Plan, inputs: TensorSet, known: ReadonlyMap<string, Weight>): Program {
    const { device = "cpu", runtime = onnxRuntime, recompute, mode } = this.#options;
    const kernels = runtime.kernels?.(device) ?? "standard";
    const program = compile(graph, { ...plan, kernels, recompute }, inputs, known);
    if (kernels === "standard") return program;
    const floored = withScoreFloors(program);
    return tidied(mode === "fast" ? withLargeWeights(floored) : withLeftWeights(floored));
  }

  #open(program: Program): Promise<Session> {
    const { file, device = "cpu", threads, mode = "lean", runtime = onnxRuntime } = this.#options;
    const opset = this.#placed.graph.opsets.get("") ?? 1;
    return runtime.open(program, {
      folder: file.folder,
      opset,
      device,
      threads,
      packWeights: mode === "fast",
    });
  }
}

function keyOf(plan: Plan, { clients, dropping, inputs }: PlannedFor): string {
  const shapes = [...inputs].map(([name, value]) => `${name}[${value.shape.join()}]`).join(" ");
  // A front is looked for at its place once that is known, and it is the same one.
  const begin = plan.kind === "front" ? undefined : plan.front;
  return `${plan.kind} ${plan.rows} ${plan.packed?.tokens} ${clients} ${dropping} ${begin} ${shapes}`;
}
