/**
 * The oracle of every gradient rule and lowering: central differences through the runtime.
 *
 * With u a random gradient of the output and v a random direction of the inputs, <v, Jᵀu> (what the rule says)
 * must equal <u, J v> (what the runtime's own forward says).
 */
import { float32, type Tensor, type TensorSet, tensor, tensorSet } from "../../../adapters/tensor.ts";
import { createRng, type Rng } from "../../../base/rng.ts";
import { Builder } from "../../../training/onnx/builder.ts";
import { compile, gradientName, NAMES } from "../../../training/onnx/compile.ts";
import { onnxRuntime } from "../../../training/onnx/edge/session.ts";
import type { Attributes, Graph } from "../../../training/onnx/graph.ts";
import { splitAttention } from "../../../training/onnx/lower/attention.ts";
import { splitProducts } from "../../../training/onnx/lower/products.ts";
import type { Program } from "../../../training/onnx/program.ts";
import type { Runtime, Session } from "../../../training/onnx/runtime.ts";
import { type Weight, weightOf } from "../../../training/onnx/weight.ts";

export interface RuleCase {
  readonly op: string;
  readonly domain?: string;
  /** What is special about it. */
  readonly note?: string;
  /**
   * The node's inputs: a shape is a differentiable float32 input, a list of integers or a tensor a constant,
   * null one that is not given.
   */
  readonly inputs: readonly (
    | readonly number[]
    | { readonly ints: readonly number[]; readonly shape?: readonly number[] }
    | Tensor
    | null
  )[];
  readonly attributes?: Attributes;
  readonly outputs?: number;
  /** Results that are there and that nothing reads. */
  readonly unread?: number;
  /** Range that inputs are drawn from; [-1.5, 1.5] where absent. */
  readonly range?: readonly [number, number];
  /** No two values nearer than a fifth: for operators that choose the largest. */
  readonly apart?: true;
  /** Results that the runtime's own kernel insists on, where they are more. */
  readonly runtimeOutputs?: number;
  /** Inputs, by position, that have no gradient although they are floating-point. */
  readonly constant?: readonly number[];
  readonly opset?: number;
  /** The only runtime that has kernels for the operator and for its gradient, where tfjs has not. */
  readonly kernels?: "onnxruntime";
}

export interface GraphCase {
  readonly graph: Graph;
  readonly values: ReadonlyMap<string, Tensor>;
}

/** Step of the difference, extrapolated from two: float32 forward values of size 1 leave about 1e-4. */
const STEP = 2e-2;

/** Relative difference between the two products. */
export async function directionalError(wanted: RuleCase, seed: string): Promise<number> {
  const rng = createRng(seed);
  return directionalErrorOf(graphOf(wanted, rng), rng);
}

/** The same of a graph with output "all" whose inputs are all differentiable. */
export async function directionalErrorOf({ graph, values }: GraphCase, rng: Rng): Promise<number> {
  const names = [...values.keys()];
  const forward = await open(graph, "forward", values, names);
  const u = await forwardValue(forward, values);
  const weightsOfOutput = random(u.shape, rng, [-1, 1]);
  const backward = await open(graph, "backward", values, names);
  const gradients = await backward.run(
    pick(backward, new Map([...values, [NAMES.outputGradient, weightsOfOutput]])),
  );
  const direction = new Map([...values].map(([name, value]) => [name, random(value.shape, rng, [-1, 1])]));
  const along = async (h: number): Promise<number> => {
    const moved = (t: number) =>
      forwardValue(
        forward,
        new Map([...values].map(([name, value]) => [name, shifted(value, direction.get(name)!, t)])),
      );
    const [up, down] = [await moved(h), await moved(-h)];
    return (inner(up, weightsOfOutput) - inner(down, weightsOfOutput)) / (2 * h);
  };
  const numeric = (4 * (await along(STEP / 2)) - (await along(STEP))) / 3;
  const analytic = names.reduce(
    (sum, name) => sum + inner(gradients.get(gradientName(name))!, direction.get(name)!),
    0,
  );
  await forward.close();
  await backward.close();
  return Math.abs(numeric - analytic) / Math.max(1, Math.abs(analytic));
}

/** Largest difference between the first result of a lowering and the runtime's own kernel for the operator. */
export async function forwardError(wanted: RuleCase, seed: string): Promise<number> {
  const { graph, values, source } = graphOf({ ...wanted, outputs: 1 }, createRng(seed));
  const lowered = await open(graph, "forward", values, []);
  const builder = new Builder();
  const node = source.nodes[0]!;
  const inputs = node.inputs.map((name) => {
    const weight = source.weights.get(name);
    if (weight !== undefined) return builder.weight(name, weight);
    const value = values.get(name);
    return value && builder.input(name, "F32", value.shape);
  });
  const expected = await forwardValue(lowered, values);
  const result = { type: "F32" as const, shape: expected.shape, id: -1 };
  const outputs = Array.from({ length: wanted.runtimeOutputs ?? 1 }, (_, i) => ({
    ...result,
    name: `y${i}`,
  }));
  const operation = { ...node, inputs, outputs, outputCount: outputs.length };
  // The result is flat in the lowered graph; the runtime says its own shape.
  const flat = {
    op: "Reshape",
    domain: "",
    name: "flat",
    attributes: {},
    outputCount: 1,
    inputs: [outputs[0]!, builder.integers([-1])],
    outputs: [{ ...result, name: "all" }],
  };
  const program = {
    operations: [operation, flat],
    inputs: inputs.filter((x) => x?.input),
    outputs: new Map([[NAMES.output, flat.outputs[0]!]]),
  };
  const session = await onnxRuntime.open(program as Program, optionsFor(graph));
  const own = await forwardValue(session, values);
  await lowered.close();
  await session.close();
  return (own.data as Float32Array).reduce(
    (max, v, i) => Math.max(max, Math.abs(v - (expected.data[i] as number))),
    0,
  );
}

/** Largest difference between a runtime and onnxruntime in the result and its gradients, relative from 1 up. */
export async function runtimeError(wanted: RuleCase, seed: string, runtime: Runtime): Promise<number> {
  const rng = createRng(seed);
  const { graph, values } = graphOf(wanted, rng);
  const names = [...values.keys()];
  const oracle = await open(graph, "forward", values, []);
  const u = random((await forwardValue(oracle, values)).shape, rng, [-1, 1]);
  await oracle.close();
  const given = new Map([...values, [NAMES.outputGradient, u]]);
  let worst = 0;
  for (const kind of ["forward", "backward"] as const) {
    const [mine, theirs] = await Promise.all(
      [runtime, onnxRuntime].map(async (each) => {
        const session = await open(graph, kind, values, kind === "forward" ? [] : names, each);
        const results = await session.run(pick(session, given));
        await session.close();
        return results;
      }),
    );
    if ([...mine!.keys()].join() !== [...theirs!.keys()].join())
      throw new Error(`outputs ${[...mine!.keys()]}, ${[...theirs!.keys()]} wanted`);
    for (const [name, { data }] of theirs!) worst = Math.max(worst, farthest(mine!.get(name)!.data, data));
  }
  return worst;
}

/** Not a number where only one of both is none. */
function farthest(got: Tensor["data"], expected: Tensor["data"]): number {
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const [a, b] = [Number(got[i]), Number(expected[i])];
    if (!Object.is(a, b)) worst = Math.max(worst, Math.abs(a - b) / Math.max(1, Math.abs(b)));
  }
  return got.length === expected.length ? worst : Number.NaN;
}

/** The graph of one node whose differentiable inputs are graph inputs, as it is and as the engine prepares it. */
function graphOf(wanted: RuleCase, rng: Rng): GraphCase & { readonly source: Graph } {
  const values = new Map<string, Tensor>();
  const weights = new Map<string, Weight>();
  const grid = rng.shuffle(Array.from({ length: 64 }, (_, i) => (i - 32) / 5));
  const inputs = wanted.inputs.map((input, i): string => {
    const name = `x${i}`;
    if (input === null) return "";
    if (Array.isArray(input)) {
      const drawn = random(input, rng, wanted.range ?? [-1.5, 1.5]);
      const value = wanted.apart
        ? float32(
            input,
            Float32Array.from({ length: drawn.data.length }, () => grid.pop()!),
          )
        : drawn;
      if (wanted.constant?.includes(i)) weights.set(name, weightOf("F32", value.shape, value.data));
      else values.set(name, value);
    } else if ("ints" in input) {
      const { ints, shape = [ints.length] } = input;
      weights.set(
        name,
        weightOf(
          "I64",
          shape,
          BigInt64Array.from(ints, (v) => BigInt(v)),
        ),
      );
    } else {
      const { dtype, shape, data } = input as Tensor;
      weights.set(name, weightOf(dtype, shape, data));
    }
    return name;
  });
  const outputs = Array.from({ length: wanted.outputs ?? 1 }, (_, i) => `y${i}`);
  const { op, domain = "", attributes = {}, opset = 18 } = wanted;
  const unread = Array.from({ length: wanted.unread ?? 0 }, (_, i) => `unread${i}`);
  const node = { op, domain, name: `test/${op}`, inputs, outputs: [...outputs, ...unread], attributes };
  // Several results count with different weights, so that none may be mixed up.
  const parts = outputs.map((name, i) => ({
    ...MUL,
    name: `part${i}`,
    inputs: [name, `w${i}`],
    outputs: [`part${i}`],
  }));
  outputs.forEach((_, i) => {
    weights.set(`w${i}`, weightOf("F32", [], Float32Array.of(1 + i)));
  });
  const flat = outputs.map((_, i) => ({
    ...RESHAPE,
    name: `flat${i}`,
    inputs: [`part${i}`, "flat"],
    outputs: [`flat${i}`],
  }));
  weights.set("flat", weightOf("I64", [1], BigInt64Array.of(-1n)));
  const all = {
    op: "Concat",
    domain: "",
    name: "all",
    inputs: flat.map((f) => f.name),
    outputs: ["all"],
    attributes: AXIS0,
  };
  const source: Graph = {
    nodes: [node, ...parts, ...flat, all],
    inputs: [...values].map(([name, { shape }]) => ({ name, type: "F32", shape })),
    outputs: ["all"],
    weights,
    opsets: new Map([
      ["", opset],
      ["com.microsoft", 1],
    ]),
  };
  return { graph: splitProducts(splitAttention(source)), values, source };
}

const MUL = { op: "Mul", domain: "", attributes: {} };
const RESHAPE = { op: "Reshape", domain: "", attributes: {} };
const AXIS0: Attributes = { axis: { kind: "int", value: 0 } };

async function open(
  graph: Graph,
  kind: "forward" | "backward",
  inputs: TensorSet,
  wanted: readonly string[],
  runtime: Runtime = onnxRuntime,
): Promise<Session> {
  const program = compile(
    graph,
    { kind, output: "all", wanted, kernels: runtime.kernels?.("cpu") ?? "standard" },
    inputs,
    new Map(),
  );
  return runtime.open(program, optionsFor(graph));
}

/** What a program of this opset gives, of those inputs that it takes, in a session of its own. */
export async function resultsOf(program: Program, values: TensorSet, opset = 18): Promise<TensorSet> {
  const session = await onnxRuntime.open(program, { ...ONE_THREAD, opset });
  try {
    return await session.run(pick(session, values));
  } finally {
    await session.close();
  }
}

const ONE_THREAD = { folder: "", device: "cpu", threads: 1, packWeights: false } as const;

const optionsFor = ({ opsets }: Graph) => ({ ...ONE_THREAD, opset: opsets.get("")! }) as const;

async function forwardValue(session: Session, values: TensorSet): Promise<Tensor> {
  return (await session.run(pick(session, values))).get(NAMES.output)!;
}

/** Inputs that the result does not depend on are left out of a session. */
function pick(session: Session, values: TensorSet): TensorSet {
  return tensorSet(session.inputs.map((name) => [name, values.get(name)!] as const));
}

export function random(shape: readonly number[], rng: Rng, [low, high]: readonly [number, number]): Tensor {
  const size = shape.reduce((product, dim) => product * dim, 1);
  return float32(
    shape,
    Float32Array.from({ length: size }, () => low + (high - low) * rng.uniform()),
  );
}

function shifted(value: Tensor, direction: Tensor, t: number): Tensor {
  const d = direction.data as Float32Array;
  return tensor(
    "F32",
    value.shape,
    (value.data as Float32Array).map((v, i) => v + t * d[i]!),
  );
}

function inner(a: Tensor, b: Tensor): number {
  const other = b.data as Float32Array;
  return (a.data as Float32Array).reduce((sum, v, i) => sum + v * other[i]!, 0);
}
