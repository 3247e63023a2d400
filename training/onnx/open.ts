/** Opens a graph for training: finds its modules, puts LoRA beside them, and runs what compile.ts makes. */
import { type Tensor, type TensorSet, tensor, tensorSet } from "../../adapters/tensor.ts";
import { FedloomError } from "../../base/errors.ts";
import { gradientName, NAMES, type Plan } from "./compile.ts";
import { dropoutMask } from "./edge/masks.ts";
import type {
  Batch,
  Engine,
  EngineOptions,
  Front,
  LinearModule,
  ParameterSpec,
  Share,
  StepResult,
} from "./engine.ts";
import type { MemoryEstimate } from "./estimate.ts";
import { frozenPart, LEAST_SHARE, NoFront } from "./front.ts";
import type { Graph, GraphInput } from "./graph.ts";
import { completeInputs, labelledRows, rowBucket } from "./inputs.ts";
import { branchName } from "./lora.ts";
import { type LossPlan, lossPlan } from "./loss-plan.ts";
import { LossScale } from "./loss-scale.ts";
import { MASK } from "./lowerings/lora-input.ts";
import { rowsOf } from "./output-rows.ts";
import { PlannedSessions } from "./planned.ts";
import { type PlacedGraph, placeParameters, prepareGraph } from "./prepare.ts";
import { type MetRows, metRows } from "./table-rows.ts";
import {
  type Block,
  ofClient,
  rowsOfClient,
  type Stack,
  stackBlocks,
  stackMasks,
  stackParameters,
} from "./together.ts";
import { placesName } from "./token-ids.ts";
import { initialValue } from "./trained.ts";

/** @throws FedloomError F2101, F2110, F2111, F2113 as the graph and the options deserve */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  return new GraphEngine(options, placeParameters(options, prepareGraph(options)));
}

/** What a run of the graph is fed beside the plan's own inputs. */
interface Pass {
  /** Whose factors the parameters hold, in front of their own axes where there are several. */
  readonly clients: number;
  readonly inputs: TensorSet;
  readonly parameters: TensorSet;
  /** Dropout masks; absent where nothing is dropped. */
  readonly maskOf: ((name: string, shape: readonly number[]) => Tensor) | undefined;
}

class GraphEngine implements Engine {
  readonly inputs: readonly GraphInput[];
  readonly modules: readonly LinearModule[];
  readonly named: readonly string[];
  readonly parameters: readonly ParameterSpec[];
  readonly absent: readonly string[];
  readonly #options: EngineOptions;
  readonly #placed: PlacedGraph;
  readonly #graph: Graph;
  readonly #output: string;
  /** Inputs of the graph that are no inputs of the batch. */
  readonly #own: ReadonlySet<string>;
  readonly #widths: ReadonlyMap<string, number>;
  readonly #sessions: PlannedSessions;
  readonly #lossScale = new LossScale();
  /** Where the frozen part ends, once that was asked. */
  #place: string | undefined;
  #isFrontless: boolean | undefined;

  constructor(options: EngineOptions, placed: PlacedGraph) {
    this.#options = options;
    this.#sessions = new PlannedSessions(options, placed);
    this.#placed = placed;
    this.#graph = placed.graph;
    this.#widths = new Map(placed.pairs.map((pair) => [branchName(pair), pair.module.in]));
    this.#output = placed.output;
    this.#own = new Set(placed.parameters.flatMap(({ name }) => [name, placesName(name)]));
    this.inputs = placed.graph.inputs.filter(({ name }) => !this.#own.has(name));
    this.modules = placed.modules;
    this.named = placed.named.map(({ path }) => path);
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
    return (await this.stepTogether([{ batch, parameters }]))[0]!;
  }

  async stepTogether(shares: readonly Share[]): Promise<readonly StepResult[]> {
    const { objective, dropout = 0 } = this.#options;
    if (objective === "none") throw new TypeError("An engine without an objective has no step");
    const [place, ...others] = new Set(shares.map(({ batch }) => batch.front?.place));
    const front = others.length === 0 ? place : undefined;
    const blocks = shares.map(({ batch }) => {
      const labelled = labelledRows(batch, objective);
      const inputs = this.#withFront(batch, front);
      return { labelled, inputs, labelShape: batch.labels!.shape }; // labelled rows have labels
    });
    const seeds = shares.map(({ batch }) => batch.seed);
    const drops = dropout > 0 && seeds.some((seed) => seed !== undefined);
    const alike = shares.length === 1 || !drops || seeds.every((seed) => seed !== undefined);
    // What a layer that is called twice reads need not be rows of the batch.
    const plain = this.#placed.trained.length === 0 && this.#placed.pairs.every(({ call }) => call === 0);
    const stack = alike && plain ? stackBlocks(blocks) : undefined;
    if (stack === undefined && shares.length > 1) {
      const results: StepResult[] = [];
      for (const { batch, parameters } of shares) results.push(await this.step(batch, parameters));
      return results;
    }
    return this.#stepStacked(shares, stack ?? stackBlocks(blocks)!, blocks, { drops, front });
  }

  async #stepStacked(
    shares: readonly Share[],
    stack: Stack,
    blocks: readonly Block[],
    { drops, front }: { readonly drops: boolean; readonly front: string | undefined },
  ): Promise<readonly StepResult[]> {
    const { plan, places, feeds } = this.#lossPlan(stack, front);
    const apart = stack.slots > 1;
    const maskOf = (name: string, shape: readonly number[]): Tensor => {
      const keep = 1 - (this.#options.dropout ?? 0);
      const draw = (client: number, own: readonly number[]): Tensor =>
        dropoutMask(shares[client]!.batch.seed ?? "", name, own, keep);
      if (!apart) return draw(0, shape);
      const shapes = blocks.map(({ labelShape }) => labelShape);
      return stackMasks(stack, shape, this.#widths.get(name.slice(MASK.length))!, shapes, draw);
    };
    const own = shares.map(({ parameters }) => this.#checked(parameters));
    const results = await this.#run(
      plan,
      {
        clients: stack.slots,
        inputs: stack.inputs,
        parameters: apart ? stackParameters(this.parameters, own, stack.slots) : own[0]!,
        maskOf: drops ? maskOf : undefined,
      },
      feeds,
    );
    const losses = results.get(NAMES.loss)!.data as Float32Array; // F32
    let next = 0;
    return blocks.map(({ labelled, inputs }, client) => {
      let lossSum = apart ? 0 : losses[0]!;
      if (apart) for (const _ of labelled.rows) lossSum += losses[places[next++]!]!;
      const { gradients, inputGradients } = this.#gradients(results);
      return {
        lossSum,
        labels: labelled.rows.length,
        gradients: apart ? mapSet(gradients, (_, whole) => ofClient(client, whole)) : gradients,
        inputGradients: apart
          ? mapSet(inputGradients, (name, whole) =>
              rowsOfClient(client, inputs.get(name)!, whole, stack.rows),
            )
          : inputGradients,
      };
    });
  }

  #lossPlan(stack: Stack, front: string | undefined): LossPlan {
    const packs = this.#options.objective === "tokens";
    return lossPlan(stack, { ...this.#from(front), output: this.#output, wanted: this.#wanted(), packs });
  }

  async front(batch: Batch): Promise<Front | undefined> {
    this.#isFrontless ??= this.#trainsNearlyAll();
    if (this.#isFrontless) return undefined;
    const inputs = this.#inputs(batch);
    const plan: Plan = {
      kind: "front",
      ...this.#from(this.#place),
      output: this.#output,
      // The labelled rows are picked behind the front.
      rows: this.#options.objective === "tokens" ? 1 : undefined,
      wanted: this.#wanted(),
    };
    try {
      const { session } = await this.#sessions.of(plan, { clients: 1, dropping: false, inputs }, inputs);
      const [[name, states]] = [...(await session.run(inputs))] as [[string, Tensor]];
      this.#place ??= name.slice(NAMES.front.length + 1);
      return { place: this.#place, states };
    } catch (error) {
      if (!(error instanceof NoFront)) throw error;
      this.#isFrontless = this.#place === undefined;
      return undefined;
    }
  }

  #trainsNearlyAll(): boolean {
    const { share, weights } = frozenPart(this.#graph, this.#own);
    return share < LEAST_SHARE || weights < (this.#options.leastFront ?? 0);
  }

  #from(front: string | undefined): Pick<Plan, "front" | "parameters"> {
    return { front, parameters: this.parameters.map(({ name }) => name) };
  }

  #withFront(batch: Batch, front: string | undefined): TensorSet {
    const inputs = this.#inputs(batch);
    return front === undefined ? inputs : new Map([...inputs, [NAMES.front, batch.front!.states]]);
  }

  async estimate(batch: Batch): Promise<MemoryEstimate> {
    const front = batch.front?.place;
    const given = this.#withFront(batch, front);
    const met = this.#metRows({ inputs: given, parameters: new Map() });
    const inputs = new Map([...given, ...met.feeds]);
    const labelled = labelledRows(batch, this.#options.objective === "classes" ? "classes" : "tokens");
    const { plan } = this.#lossPlan(
      stackBlocks([{ inputs, labelled, labelShape: batch.labels!.shape }])!,
      front,
    );
    const dropping = (this.#options.dropout ?? 0) > 0;
    return this.#sessions.estimate(plan, { clients: 1, dropping, inputs }, inputs);
  }

  async forward(batch: Batch, parameters: TensorSet, rows?: readonly number[]): Promise<Tensor> {
    const front = batch.front?.place;
    const inputs = this.#withFront(batch, front);
    const count = rows === undefined ? undefined : rowBucket(rows.length, positions(inputs) ?? rows.length);
    const plan: Plan = {
      kind: "forward",
      ...this.#from(front),
      output: this.#output,
      rows: count,
      wanted: [],
    };
    const rowData = BigInt64Array.from({ length: count ?? 0 }, (_, i) => BigInt(rows?.[i] ?? 0));
    const results = await this.#run(plan, this.#passOf(batch, inputs, parameters), [
      [NAMES.rows, tensor("I64", [count ?? 0], rowData)],
    ]);
    const some = results.get(NAMES.outputRows);
    if (some !== undefined) return rowsOf(some, rows!.keys());
    const output = results.get(NAMES.output)!;
    return rows === undefined ? output : rowsOf(output, rows);
  }

  async backward(
    batch: Batch,
    parameters: TensorSet,
    outputGradient: Tensor,
  ): Promise<Pick<StepResult, "gradients" | "inputGradients">> {
    const front = batch.front?.place;
    const plan: Plan = {
      kind: "backward",
      ...this.#from(front),
      output: this.#output,
      wanted: this.#wanted(),
    };
    const pass = this.#passOf(batch, this.#withFront(batch, front), parameters);
    const results = await this.#run(plan, pass, [[NAMES.outputGradient, outputGradient]]);
    return this.#gradients(results);
  }

  async close(): Promise<void> {
    await this.#sessions.close();
  }

  #wanted(): readonly string[] {
    const { frozen, inputGradients = [] } = this.#options;
    const pattern = frozen === undefined ? undefined : new RegExp(frozen);
    const names = this.parameters.map(({ name }) => name);
    return [...names.filter((name) => !pattern?.test(name)), ...inputGradients];
  }

  #inputs(batch: Batch): TensorSet {
    return completeInputs(this.#graph, batch, (name) => this.#own.has(name));
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

  #passOf({ seed }: Batch, inputs: TensorSet, parameters: TensorSet): Pass {
    const { dropout = 0 } = this.#options;
    const maskOf =
      seed === undefined || dropout === 0
        ? undefined
        : (name: string, shape: readonly number[]) => dropoutMask(seed, name, shape, 1 - dropout);
    return { clients: 1, inputs, parameters: this.#checked(parameters), maskOf };
  }

  async #run(plan: Plan, whole: Pass, extra: readonly (readonly [string, Tensor])[]): Promise<TensorSet> {
    const met = this.#metRows(whole);
    const inputs = new Map([...whole.inputs, ...met.feeds]);
    const feeds = new Map([...whole.parameters, ...inputs, ...extra]);
    const { clients, maskOf } = whole;
    const { session, masks } = await this.#sessions.of(
      plan,
      { clients, dropping: maskOf !== undefined, inputs },
      feeds,
    );
    for (const { name, shape } of masks) feeds.set(name, maskOf!(name, shape));
    return met.whole(await this.#lossScale.run(session, feeds));
  }

  #metRows({ inputs, parameters }: Pick<Pass, "inputs" | "parameters">): MetRows {
    const tables = this.#placed.trained.flatMap(({ parameter, byIds }) => (byIds ? [parameter] : []));
    return metRows(tables, inputs, parameters);
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
}

/** Positions of a batch of tokens. */
function positions(inputs: TensorSet): number | undefined {
  const ids = inputs.get("input_ids") ?? inputs.get("inputs_embeds");
  return ids && ids.shape[0]! * ids.shape[1]!;
}

function mapSet(set: TensorSet, change: (name: string, tensor: Tensor) => Tensor): TensorSet {
  return new Map([...set].map(([name, value]) => [name, change(name, value)]));
}
