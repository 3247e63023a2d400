/**
 * A decoder with its cache, for generation: the graph as the file has it, free shapes and all outputs, with LoRA
 * beside its linear layers as plain nodes. Training does without the cache and plans for fixed shapes; here one
 * session serves every length.
 */
import { type Tensor, type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import { onnxRuntime } from "./edge/session.ts";
import type { EngineOptions } from "./engine.ts";
import { decodeModel, encodeModel } from "./format/codec.ts";
import type { GraphProto, NodeProto, TensorProto, ValueInfoProto } from "./format/schema.ts";
import type { GraphInput } from "./graph.ts";
import { loadGraph } from "./load.ts";
import { factorName, type LoraPair } from "./lora.ts";
import { isFixedInput } from "./lower/fixed-inputs.ts";
import { prepareGraph } from "./prepare.ts";
import { matchModule } from "./targets/match.ts";

export interface Decoding {
  /** What a run takes beside the caches and parameters. */
  readonly inputs: readonly Pick<GraphInput, "name" | "type">[];
  /** Caches of length 0, by the names of the inputs that take them. */
  emptyCaches(): TensorSet;
  /** @returns logits of all positions given, and the caches that the next run takes */
  run(
    inputs: TensorSet,
    caches: TensorSet,
    parameters: TensorSet,
  ): Promise<{ logits: Tensor; caches: TensorSet }>;
  close(): Promise<void>;
}

/** Numbers of ONNX's element types and attribute types. */
const FLOAT = 1;
const INT64 = 7;
const FLOAT16 = 10;
const INT = 2;
const INTS = 7;

/**
 * @returns undefined where the graph has no cache, where a layer with LoRA is not a node of its own (in a branch or
 *   in a function), or where the runtime takes no shapes that are free
 */
export async function openDecoding({
  headSize,
  runtime = onnxRuntime,
  ...options
}: EngineOptions & {
  /** Width of an attention head, for graphs that state it by a symbol. */
  readonly headSize?: number | undefined;
}): Promise<Decoding | undefined> {
  if (runtime.openModel === undefined) return undefined;
  const { graph: whole } = loadGraph(options.file);
  const caches = whole.inputs
    .filter(({ name }) => name.startsWith("past_key_values."))
    .map(({ name, type, shape }) => ({ name, type, heads: shape[1], size: numberOr(shape[3], headSize) }));
  const branched = whole.inputs.some(isFixedInput);
  if (
    caches.length === 0 ||
    caches.some(({ heads, size }) => typeof heads !== "number" || size === undefined)
  ) {
    return undefined;
  }
  if (branched || (options.saved ?? []).length > 0) return undefined;
  const { modules, reads, output } = prepareGraph(options);
  const pairs = options.lora.flatMap((spec): LoraPair[] => {
    const module = matchModule(spec.path, modules, reads);
    return module === undefined ? [] : [{ module, spec, call: 0 }];
  });
  const model = decodeModel(options.file.bytes);
  const graph = model.graph!; // loadGraph refused a model without one
  const plain = new Set(graph.node?.filter(isPlainProduct).map(nameOf));
  if (!pairs.every(({ module }) => plain.has(module.node))) return undefined;
  const bytes = encodeModel({ ...model, graph: withPlainLora(graph, pairs) });
  const session = await runtime.openModel(bytes, {
    folder: options.file.folder,
    device: options.device ?? "cpu",
    threads: options.threads,
    packWeights: true,
  });
  const factors = pairs.flatMap(({ spec }) => [factorName(spec.path, "A"), factorName(spec.path, "B")]);
  return {
    inputs: whole.inputs.filter(({ name }) => caches.every((cache) => cache.name !== name)),
    emptyCaches: () =>
      tensorSet(
        caches.map(({ name, type, heads, size }) => [name, emptyCache(type, [1, heads as number, 0, size!])]),
      ), // as: caches without numbers were turned down above
    async run(inputs, past, parameters) {
      const own = factors.map((name) => [name, parameters.get(name)!] as const);
      const results = await session.run(tensorSet([...inputs, ...past, ...own]));
      const present = caches.map(({ name }) => [name, results.get(presentName(name))!] as const);
      return { logits: results.get(output)!, caches: tensorSet(present) };
    },
    close: () => session.close(),
  };
}

const PRODUCTS = new Set(["MatMul", "Gemm", "FusedMatMul", "MatMulNBits", "MatMulBnb4"]);

/** Whether LoRA can stand beside a node: it cannot where a factor or an attention is inside (lower/products.ts, attention.ts). */
const isPlainProduct = ({ opType = "", attribute = [] }: NodeProto): boolean =>
  PRODUCTS.has(opType) && !attribute.some(({ name, f }) => name === "alpha" && f !== 1);

const nameOf = (node: NodeProto): string => node.name || (node.output?.[0] ?? "");
const presentName = (past: string): string => past.replace(/^past_key_values/, "present");

function numberOr(dim: number | string | undefined, other: number | undefined): number | undefined {
  return typeof dim === "number" ? dim : other;
}

function emptyCache(type: GraphInput["type"], shape: readonly number[]): Tensor {
  return type === "F16"
    ? { dtype: "F16", shape, data: new Uint16Array(0) }
    : { dtype: "F32", shape, data: new Float32Array(0) };
}

function withPlainLora(graph: GraphProto, pairs: readonly LoraPair[]): GraphProto {
  const byNode = Map.groupBy(pairs, ({ module }) => module.node);
  const weights = new Map((graph.initializer ?? []).map((weight) => [weight.name, weight]));
  const added: Required<Pick<GraphProto, "node" | "initializer" | "input">> = {
    node: [],
    initializer: [],
    input: [],
  };
  for (const node of graph.node ?? []) {
    const own = byNode.get(nameOf(node));
    if (own === undefined) {
      added.node.push(node);
      continue;
    }
    const half = node.input?.some((name) => weights.get(name)?.dataType === FLOAT16) === true;
    // The last sum has the node's own output; what comes before has names of its own.
    let sum = { ...node, output: [`lora/${nameOf(node)}/base`, ...node.output!.slice(1)] };
    added.node.push(sum);
    own.forEach((pair, i) => {
      const branch = branchOf(node.input![0]!, pair, half);
      added.input.push(...branch.inputs);
      added.initializer.push(...branch.weights);
      const output = i === own.length - 1 ? node.output![0]! : `${branch.root}/sum`;
      sum = {
        name: `${branch.root}/sum`,
        opType: "Add",
        input: [sum.output[0]!, branch.output],
        output: [output],
      };
      added.node.push(...branch.nodes, sum);
    });
  }
  return {
    ...graph,
    node: added.node,
    initializer: [...(graph.initializer ?? []), ...added.initializer],
    input: [...(graph.input ?? []), ...added.input],
  };
}

/** scale (x Aᵀ) Bᵀ, filled up with zeros to the width of a packed projection; float32 where the graph is float16. */
function branchOf(given: string, { module, spec }: LoraPair, half: boolean) {
  const root = `lora/${spec.path}`;
  const nodes: NodeProto[] = [];
  const op = (
    name: string,
    opType: string,
    input: string[],
    attribute: NodeProto["attribute"] = [],
  ): string => {
    nodes.push({ name: `${root}/${name}`, opType, input, output: [`${root}/${name}`], attribute });
    return `${root}/${name}`;
  };
  const turned = (name: string, factor: string): string =>
    op(name, "Transpose", [factor], [{ name: "perm", type: INTS, ints: [1, 0] }]);
  const cast = (name: string, value: string, to: number): string =>
    op(name, "Cast", [value], [{ name: "to", type: INT, i: to }]);
  const [a, b] = [factorName(spec.path, "A"), factorName(spec.path, "B")];
  const weights: TensorProto[] = [
    { name: `${root}/scale`, dataType: FLOAT, dims: [], floatData: [spec.scale] },
  ];
  let wide = turned("Bt", b);
  if (module.columns !== undefined) {
    const pads = [0, module.columns[0], 0, module.nodeOut - module.columns[1]].map(BigInt);
    weights.push({ name: `${root}/pads`, dataType: INT64, dims: [4], int64Data: pads });
    wide = op("wide", "Pad", [wide, `${root}/pads`]);
  }
  const x = op("sx", "Mul", [half ? cast("x", given, FLOAT) : given, `${root}/scale`]);
  const branch = op("branch", "MatMul", [op("z", "MatMul", [x, turned("At", a)]), wide]);
  const output = half ? cast("half", branch, FLOAT16) : branch;
  const inputs = [floatInput(a, [spec.rank, module.in]), floatInput(b, [module.out, spec.rank])];
  return { root, nodes, weights, inputs, output };
}

function floatInput(name: string, shape: readonly number[]): ValueInfoProto {
  const dim = shape.map((dimValue) => ({ dimValue }));
  return { name, type: { tensorType: { elemType: FLOAT, shape: { dim } } } };
}
