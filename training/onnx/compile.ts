/**
 * From a graph and the shapes of a batch to the program that is run: forward, rows, loss, gradients.
 */
import { sizeOf, type TensorSet } from "../../adapters/tensor.ts";
import { FedloomError } from "../../base/errors.ts";
import { addInProducts } from "./accumulate.ts";
import { Builder, withoutDead } from "./builder.ts";
import { differentiate } from "./differentiate.ts";
import type { EngineOptions } from "./engine.ts";
import { estimateMemory } from "./estimate.ts";
import { type FrontEnd, frontEnds, LEAST_SHARE, NoFront } from "./front.ts";
import type { Graph } from "./graph.ts";
import { joinBranches } from "./lora-joined.ts";
import { lossOf } from "./loss.ts";
import { makeAgain } from "./made-again.ts";
import { type Maths, maths } from "./maths.ts";
import { packRows } from "./packed-rows.ts";
import { type Operation, type Program, sameShape, type Value } from "./program.ts";
import { differentiateAgain } from "./recompute.ts";
import { replay } from "./replay.ts";
import { pickRows } from "./rows.ts";
import type { Kernels } from "./runtime.ts";
import { asLateAsRead, scheduled } from "./schedule.ts";
import { specialize } from "./specialize.ts";
import { picksByIds } from "./token-ids.ts";
import { turnProducts } from "./turned-products.ts";
import { type Weight, weightOf } from "./weight.ts";

/** Names of what the engine adds to a graph's own inputs and outputs. */
export const NAMES = {
  rows: "fedloom.rows",
  tokens: "fedloom.tokens",
  places: "fedloom.places",
  labels: "fedloom.labels",
  weights: "fedloom.weights",
  loss: "fedloom.loss",
  output: "fedloom.output",
  /** In place of `output`: the asked rows alone, in order. */
  outputRows: "fedloom.outputRows",
  outputGradient: "fedloom.outputGradient",
  /** Where a part of the graph is in float16 (loss-scale.ts). */
  lossScale: "fedloom.lossScale",
  /** What enters the lowest trained layer (front.ts): as an input; as an output its place follows. */
  front: "fedloom.front",
} as const;

export const gradientName = (name: string): string => `d ${name}`;

export interface Plan {
  /**
   * "loss": loss and gradients; "forward": the output; "backward": gradients of <outputGradient, output>; "front": what
   * enters the lowest trained layer (front.ts).
   */
  readonly kind: "loss" | "forward" | "backward" | "front";
  readonly output: string;
  /** Rows of the output that are computed; all of them where absent. */
  readonly rows?: number | undefined;
  /** How many of a padded batch's positions are computed (packed-rows.ts), in equal blocks; all of them where absent. */
  readonly packed?:
    | { readonly tokens: number; readonly positions: number; readonly blocks: number }
    | undefined;
  /** The loss of each row in place of their sum: rows of several clients. */
  readonly apart?: boolean;
  /** Names of parameters and inputs whose gradient is an output. */
  readonly wanted: readonly string[];
  /** As EngineOptions has it. */
  readonly recompute?: EngineOptions["recompute"] | undefined;
  /** All parameters of the graph, those without a wanted gradient too; told where the frozen part in front matters. */
  readonly parameters?: readonly string[];
  /** Where the frozen part ends: it is among the inputs. A "front" without it looks for the last place. */
  readonly front?: string | undefined;
  /** "all" where absent. */
  readonly kernels?: Kernels;
}

/**
 * @param inputs the graph's inputs but the parameters; those without elements become constants
 * @param known values that shapes depend on, computed from the batch
 * @throws DataNeeded (specialize.ts) where another such value is needed, NoFront (front.ts) where a front is asked for
 *   and there is none
 */
export function compile(
  graph: Graph,
  plan: Plan,
  inputs: TensorSet,
  known: ReadonlyMap<string, Weight>,
): Program {
  const builder = new Builder(plan.kernels);
  const g = maths(builder);
  const given = new Map<string, Value>();
  for (const input of graph.inputs) {
    const tensor = inputs.get(input.name);
    if (tensor === undefined) {
      // A parameter: its shape is stated in numbers.
      given.set(input.name, builder.input(input.name, input.type, input.shape as readonly number[]));
    } else if (sizeOf(tensor.shape) === 0) {
      given.set(input.name, builder.weight(input.name, weightOf(tensor.dtype, tensor.shape, tensor.data)));
    } else {
      given.set(input.name, builder.input(input.name, tensor.dtype, tensor.shape));
    }
  }
  const values = specialize(joinBranches(graph), builder, given, known);
  const whole = values.get(plan.output);
  if (whole === undefined)
    throw new FedloomError("F2110", `Cannot use the graph: it must have output "${plan.output}"`);

  let output = whole;
  if (plan.rows !== undefined && plan.rows < sizeOf(whole.shape.slice(0, -1))) {
    const rows = builder.input(NAMES.rows, "I64", [plan.rows]);
    output = pickRows(whole, rows, withoutDead(builder.operations, [whole]), g);
  }
  const outputName = output === whole ? NAMES.output : NAMES.outputRows;
  const wanted = new Map(
    plan.wanted.map((name) => [name, given.get(name) ?? wantedEmbeddings(name, graph, given, values)]),
  );
  let start = embeddings(graph, given, values);
  if (plan.kind === "front" || plan.front !== undefined) {
    const operations = withoutDead(builder.operations, [output]);
    const parameters = new Set(plan.parameters?.flatMap((name) => given.get(name) ?? []));
    // A fused operator may take the ids themselves; encoders take floats.
    const first = start ?? given.get("input_ids");
    const starts = first ? [first] : [...given.values()].filter((value) => isFree(value, parameters));
    const ends = frontEnds(operations, starts, [...parameters, ...wanted.values()]);
    if (plan.kind === "front") return frontProgram(ends, plan.front, builder, g);
    const end = ends.find(({ place }) => place === plan.front);
    const shape = inputs.get(NAMES.front)?.shape;
    // Where shapes make another graph of the model, everything is computed.
    if (end !== undefined && shape !== undefined && sameShape(shape, end.value.shape)) {
      start = g.cast(builder.input(NAMES.front, "F32", shape), end.value.type);
      const behind = new Map([[end.value, start]]);
      replay(operations, behind, g);
      output = behind.get(output)!;
    }
  }
  if (plan.packed !== undefined && start !== undefined) {
    const tokens = builder.input(NAMES.tokens, "I64", [plan.packed.tokens]);
    const places = builder.input(NAMES.places, "I64", [plan.packed.positions]);
    const how = { tokens, places, blocks: plan.packed.blocks };
    output = packRows(output, start, how, withoutDead(builder.operations, [output]), g);
  }
  if (plan.kind === "forward") {
    const result = output.type === "F16" ? g.cast(output, "F32") : output;
    return builder.program(new Map([[outputName, result]]));
  }

  const isHalf = withoutDead(builder.operations, [output]).some(({ outputs }) =>
    outputs.some(({ type }) => type === "F16"),
  );
  const scale = isHalf ? builder.input(NAMES.lossScale, "F32", []) : undefined;
  const scaled = (value: Value): Value => (scale === undefined ? value : g.mul(g.cast(value, "F32"), scale));
  const outputs = new Map<string, Value>();
  const seeds = new Map<Value, Value>();
  if (plan.kind === "loss") {
    const count = sizeOf(output.shape.slice(0, -1));
    const labels = builder.input(NAMES.labels, "I64", [count, 1]);
    const weights = builder.input(NAMES.weights, "F32", [count, 1]);
    const loss = lossOf(output, labels, weights, g);
    outputs.set(NAMES.loss, plan.apart === true ? loss.rows : loss.sum);
    for (const [logits, dLogits] of loss.dLogits) seeds.set(logits, g.cast(scaled(dLogits), logits.type));
  } else {
    const given = builder.input(NAMES.outputGradient, "F32", output.shape);
    seeds.set(output, g.cast(scaled(given), output.type));
  }
  const made = withoutDead(builder.operations, seeds.keys());
  // Blocks are cut where one value is still to be read: what packing left where it stood comes no sooner than it is read.
  const forward =
    plan.recompute === true && plan.packed !== undefined && start !== undefined
      ? asLateAsRead(made, dependents(made, start))
      : made;
  const derive = plan.recompute === true ? differentiateAgain : differentiate;
  const gradients = derive(forward, seeds, wanted.values(), graph.opsets, g);
  for (const [name, value] of wanted) {
    const gradient = gradients.get(value);
    if (gradient === undefined) continue;
    const exact = g.cast(gradient, "F32");
    outputs.set(gradientName(name), scale === undefined ? exact : g.div(exact, scale));
  }
  const program = addInProducts(turnProducts(builder.program(outputs)));
  const kept = scheduled(program);
  if (plan.recompute === true) return kept;
  const again = plan.recompute === "cheap" ? "all" : worthMakingAgain(kept);
  if (again === undefined) return kept;
  return scheduled({ ...program, operations: makeAgain(program.operations, forward, g, again) });
}

const isFree = (value: Value, parameters: ReadonlySet<Value>): boolean =>
  !parameters.has(value) && /^F(16|32)$/.test(value.type);

/** What enters the lowest trained layer, at the place that is named or at the last one. @throws NoFront */
function frontProgram(
  ends: readonly FrontEnd[],
  place: string | undefined,
  builder: Builder,
  g: Maths,
): Program {
  const end = place === undefined ? ends.at(-1) : ends.find((other) => other.place === place);
  if (end === undefined || end.share < LEAST_SHARE) throw new NoFront();
  const program = builder.program(new Map([[`${NAMES.front} ${end.place}`, g.cast(end.value, "F32")]]));
  const read = new Set(program.operations.flatMap(({ inputs }) => inputs));
  return scheduled({ ...program, inputs: program.inputs.filter((input) => read.has(input)) });
}

/** The operations that depend on a value. */
function dependents(operations: readonly Operation[], start: Value): readonly Operation[] {
  const known = new Set([start]);
  return operations.filter(({ inputs, outputs }) => {
    const depends = inputs.some((input) => input !== undefined && known.has(input));
    if (depends) for (const output of outputs) known.add(output);
    return depends;
  });
}

/** Activations that are worth some time: many bytes, and many beside the weights, which are there anyway. */
const WORTH_NEXT_TO_NOTHING = { bytes: 64 * 2 ** 20, share: 0.25 };
const WORTH_A_LITTLE = { bytes: 256 * 2 ** 20, share: 0.6 };

function worthMakingAgain(program: Program): "all" | "normalized" | undefined {
  const { activationBytes, weightBytes } = estimateMemory(program);
  const above = ({ bytes, share }: typeof WORTH_A_LITTLE): boolean =>
    activationBytes > Math.max(bytes, share * weightBytes);
  if (above(WORTH_A_LITTLE)) return "all";
  return above(WORTH_NEXT_TO_NOTHING) ? "normalized" : undefined;
}

/** Embeddings of the tokens: an input, or what is picked by the ids of a graph that has them inside. */
function embeddings(
  graph: Graph,
  given: ReadonlyMap<string, Value>,
  values: ReadonlyMap<string, Value>,
): Value | undefined {
  if (given.has("inputs_embeds")) return given.get("inputs_embeds");
  return values.get(picksByIds(graph.nodes)[0]?.outputs[0] ?? "");
}

function wantedEmbeddings(name: string, ...graph: Parameters<typeof embeddings>): Value {
  const value = name === "inputs_embeds" ? embeddings(...graph) : undefined;
  if (value !== undefined) return value;
  throw new FedloomError("F2114", `Cannot give the gradient of "${name}": the graph has no such input`, {
    input: name,
  });
}
