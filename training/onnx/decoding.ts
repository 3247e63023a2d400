/**
 * A decoder with its cache, for generation: the graph as the file has it, free shapes and all outputs, with LoRA
 * beside its linear layers as plain nodes. Training does without the cache and plans for fixed shapes; here one
 * session serves every length.
 */
import { type Tensor, type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { openSession } from "./edge/session.ts";
import type { EngineOptions } from "./engine.ts";
import { decodeModel, encodeModel } from "./format/codec.ts";
import type { GraphProto, NodeProto, TensorProto, ValueInfoProto } from "./format/schema.ts";
import type { GraphInput } from "./graph.ts";
import { loadGraph } from "./load.ts";
import { factorName, type LoraPair } from "./lora.ts";
import { prepareGraph } from "./open.ts";
import { matchModule } from "./targets/match.ts";

export interface Decoding {
  /** What a run takes beside the caches and parameters. */
  readonly inputs: readonly string[];
  /** Caches of length 0, by the names of the inputs that take them. */
  emptyCaches(): TensorSet;
  /** @returns logits of all positions given, and the caches that the next run takes */
  run(inputs: TensorSet, caches: TensorSet, parameters: TensorSet): Promise<{ logits: Tensor; caches: TensorSet }>;
  close(): Promise<void>;
}

/** Numbers of ONNX's element types and attribute types. */
const FLOAT = 1;
const FLOAT16 = 10;
const INT = 2;
const INTS = 7;

/**
 * @returns undefined where the graph has no cache, or where a layer with LoRA is not one node of its own: in a
 *   branch, in a function, or part of a packed projection
 */
export async function openDecoding(options: EngineOptions): Promise<Decoding | undefined> {
  const { graph: whole } = loadGraph(options.file);
  const caches = whole.inputs.filter(({ name }) => name.startsWith("past_key_values."));
  const branched = whole.inputs.some(({ name }) => name === "use_cache_branch");
  if (caches.length === 0 || branched || (options.saved ?? []).length > 0) return undefined;
  const { modules, isEncoder } = prepareGraph(options);
  const pairs = options.lora.flatMap((spec): LoraPair[] => {
    const module = matchModule(spec.path, modules, isEncoder);
    return module === undefined ? [] : [{ module, spec }];
  });
  const model = decodeModel(options.file.bytes);
  const graph = model.graph!; // loadGraph refused a model without one
  const names = new Set(graph.node?.map(nameOf));
  if (pairs.some(({ module }) => module.columns !== undefined || !names.has(module.node))) return undefined;
  const bytes = encodeModel({ ...model, graph: withPlainLora(graph, pairs) });
  const session = await openSession(bytes, {
    folder: options.file.folder,
    device: options.device ?? "cpu",
    threads: options.threads,
    packWeights: true,
  });
  const factors = pairs.flatMap(({ spec }) => [factorName(spec.path, "A"), factorName(spec.path, "B")]);
  const taken = new Set([...caches.map(({ name }) => name), ...factors]);
  return {
    inputs: session.inputs.filter((name) => !taken.has(name)),
    emptyCaches: () => tensorSet(caches.map((cache) => [cache.name, emptyCache(cache)])),
    async run(inputs, past, parameters) {
      const own = factors.map((name) => [name, parameters.get(name)!] as const);
      const results = await session.run(tensorSet([...inputs, ...past, ...own]));
      const present = caches.map(({ name }) => [name, results.get(presentName(name))!] as const);
      return { logits: results.get(whole.outputs[0]!)!, caches: tensorSet(present) };
    },
    close: () => session.close(),
  };
}

const nameOf = (node: NodeProto): string => node.name || (node.output?.[0] ?? "");
const presentName = (past: string): string => past.replace(/^past_key_values/, "present");

/** [1, heads, 0, size]: of the dimensions without a number, the first is the batch and the other the past. */
function emptyCache({ type, shape }: GraphInput): Tensor {
  const dims = shape.map((dim, axis) => (typeof dim === "number" ? dim : axis === 0 ? 1 : 0));
  return type === "F16"
    ? { dtype: "F16", shape: dims, data: new Uint16Array(0) }
    : { dtype: "F32", shape: dims, data: new Float32Array(0) };
}

function withPlainLora(graph: GraphProto, pairs: readonly LoraPair[]): GraphProto {
  const byNode = new Map(pairs.map((pair) => [pair.module.node, pair]));
  const initializers = new Map((graph.initializer ?? []).map((weight) => [weight.name, weight]));
  const inputs: ValueInfoProto[] = [...(graph.input ?? [])];
  const scales: TensorProto[] = [];
  const nodes = (graph.node ?? []).flatMap((node) => {
    const pair = byNode.get(nameOf(node));
    if (pair === undefined) return [node];
    const { module, spec } = pair;
    const [a, b] = [factorName(spec.path, "A"), factorName(spec.path, "B")];
    inputs.push(floatInput(a, [spec.rank, module.in]), floatInput(b, [module.out, spec.rank]));
    const root = `lora/${nameOf(node)}`;
    scales.push({ name: `${root}/scale`, dataType: FLOAT, dims: [], floatData: [spec.scale] });
    const half = node.input?.some((name) => initializers.get(name)?.dataType === FLOAT16) === true;
    return besides(node, root, a, b, half);
  });
  return { ...graph, node: nodes, input: inputs, initializer: [...(graph.initializer ?? []), ...scales] };
}

/** y = x W + scale (x Aᵀ) Bᵀ; the branch is float32 where the graph is float16. */
function besides(node: NodeProto, root: string, a: string, b: string, half: boolean): NodeProto[] {
  const made: NodeProto[] = [];
  const op = (name: string, opType: string, input: string[], attribute: NodeProto["attribute"] = []): string => {
    made.push({ name: `${root}/${name}`, opType, input, output: [`${root}/${name}`], attribute });
    return `${root}/${name}`;
  };
  const turned = (name: string, factor: string): string =>
    op(name, "Transpose", [factor], [{ name: "perm", type: INTS, ints: [1, 0] }]);
  const cast = (name: string, value: string, to: number): string =>
    op(name, "Cast", [value], [{ name: "to", type: INT, i: to }]);
  const given = node.input![0]!; // a linear layer has an input and an output
  const x = half ? cast("x", given, FLOAT) : given;
  const z = op("z", "MatMul", [op("sx", "Mul", [x, `${root}/scale`]), turned("At", a)]);
  const branch = op("branch", "MatMul", [z, turned("Bt", b)]);
  const fitting = half ? cast("half", branch, FLOAT16) : branch;
  const y = node.output![0]!;
  const base = { ...node, output: [`${root}/base`, ...node.output!.slice(1)] };
  const sum = { name: `${root}/sum`, opType: "Add", input: [`${root}/base`, fitting], output: [y] };
  return [base, ...made, sum];
}

function floatInput(name: string, shape: readonly number[]): ValueInfoProto {
  const dim = shape.map((dimValue) => ({ dimValue }));
  return { name, type: { tensorType: { elemType: FLOAT, shape: { dim } } } };
}
