/**
 * Takes apart what optimized graphs join to a product: a factor in front of a linear layer, a transposition of what it reads,
 * and the activation behind com.microsoft.FusedGemm and FusedConv. LoRA stands beside the product alone, or its branch
 * would miss the factor, read what is not transposed and come behind the activation.
 *
 * Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
 */
import { FedloomError } from "../../../base/errors.ts";
import {
  type Attribute,
  type Attributes,
  float,
  floatOf,
  type Graph,
  type GraphNode,
  intOf,
} from "../graph.ts";
import { findLinears } from "../targets/find.ts";
import { type Weight, weightOf } from "../weight.ts";

export function splitProducts(graph: Graph): Graph {
  const joined = new Set(
    findLinears(graph).flatMap(({ node }) =>
      floatOf(node, "alpha", 1) === 1 && !readsTurned(node) ? [] : [node.name],
    ),
  );
  if (joined.size === 0 && !graph.nodes.some(isFused)) return graph;
  const weights = new Map(graph.weights);
  const nodes = graph.nodes.flatMap((node) =>
    isFused(node) || joined.has(node.name) ? new Parts(node, weights).nodes() : [node],
  );
  return { ...graph, nodes, weights };
}

const isFused = ({ op, domain }: GraphNode): boolean =>
  domain === "com.microsoft" && (op === "FusedGemm" || op === "FusedConv");

const readsTurned = (node: GraphNode): boolean =>
  intOf(node, "transA", 0) === 1 || intOf(node, "transBatchA", 0) === 1;

/** Parameters of each activation, in the order in which a FusedConv lists them. */
const PARAMETERS: Readonly<Record<string, readonly string[]>> = {
  Clip: ["min", "max"],
  Elu: ["alpha"],
  HardSigmoid: ["alpha", "beta"],
  LeakyRelu: ["alpha"],
  Relu: [],
  Selu: ["alpha", "gamma"],
  Sigmoid: [],
  Softplus: [],
  Softsign: [],
  Tanh: [],
  ThresholdedRelu: ["alpha"],
};

class Parts {
  readonly #node: GraphNode;
  readonly #weights: Map<string, Weight>;
  readonly #made: GraphNode[] = [];

  constructor(node: GraphNode, weights: Map<string, Weight>) {
    this.#node = node;
    this.#weights = weights;
  }

  nodes(): readonly GraphNode[] {
    const node = this.#node;
    const { alpha: _alpha, beta: _beta, transA, transBatchA, ...rest } = node.attributes;
    const attributes = Object.fromEntries(
      Object.entries(rest).filter(([name]) => !name.startsWith("activation")),
    );
    const [given, weight, added, sum] = node.inputs as [string, string, string?, string?];
    const turns = { ...(transA && { transA }), ...(transBatchA && { transBatchA }) };
    const x = readsTurned(node) ? this.#step("Turned", [given], turns, "fedloom") : given;
    const isConv = node.op === "FusedConv";
    const op = isFused(node) ? node.op.slice("Fused".length) : node.op;
    const domain = isFused(node) ? "" : node.domain;
    const product = `${node.outputs[0]}/product`;
    const inputs = isConv && added ? [x, weight, added] : [x, weight];
    this.#made.push({ ...node, op, domain, inputs, outputs: [product], attributes });
    let value = this.#scaled(product, "alpha");
    const addend = isConv ? sum : added;
    if (addend) value = this.#step("Add", [value, isConv ? addend : this.#scaled(addend, "beta")]);
    this.#activated(value);
    // The last step makes the node's own result.
    const last = this.#made.at(-1)!;
    this.#made[this.#made.length - 1] = { ...last, outputs: node.outputs };
    return this.#made;
  }

  #step(op: string, inputs: readonly string[], attributes: Attributes = {}, domain = ""): string {
    const name = `${this.#node.name}/part_${this.#made.length}`;
    this.#made.push({ op, domain, name, inputs, outputs: [`${name}_output_0`], attributes });
    return `${name}_output_0`;
  }

  /** A number in the type of a value: constants are float32, a graph may compute in float16. */
  #number(value: number, like: string): string {
    const name = `${this.#node.name}/number_${this.#made.length}`;
    this.#weights.set(name, weightOf("F32", [], Float32Array.of(value)));
    return this.#step("CastLike", [name, like]);
  }

  #scaled(value: string, factor: "alpha" | "beta"): string {
    const number = floatOf(this.#node, factor, 1);
    return number === 1 ? value : this.#step("Mul", [value, this.#number(number, value)]);
  }

  #activated(value: string): void {
    const { activation, activation_params: list } = this.#node.attributes;
    if (activation?.kind !== "string" || activation.value === "") return;
    const names = PARAMETERS[activation.value];
    if (names === undefined)
      throw new FedloomError(
        "F2111",
        `Cannot use ${this.#node.op} of node "${this.#node.name}": its activation may be ${Object.keys(PARAMETERS).join(", ")}, got "${activation.value}"`,
        { operator: this.#node.op, node: this.#node.name },
      );
    const settings = names.flatMap((name, i): [string, Attribute][] => {
      const own = this.#node.attributes[`activation_${name}`];
      if (own !== undefined) return [[name, own]];
      return list?.kind === "floats" && i < list.value.length ? [[name, float(list.value[i]!)]] : [];
    });
    if (activation.value !== "Clip") {
      this.#step(activation.value, [value], Object.fromEntries(settings));
      return;
    }
    const bounds = settings.map(([, bound]) => this.#number(bound.value as number, value)); // floats, as made above
    this.#step("Clip", [value, ...bounds]);
  }
}
