/**
 * An ONNX graph as the file has it: nodes in topological order, values by name, shapes unknown.
 * What is built from it for given input shapes is a program (builder.ts).
 */
import type { Weight } from "./weight.ts";

export type Attribute =
  | { readonly kind: "int"; readonly value: number }
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "ints"; readonly value: readonly number[] }
  | { readonly kind: "floats"; readonly value: readonly number[] }
  | { readonly kind: "strings"; readonly value: readonly string[] }
  | { readonly kind: "tensor"; readonly value: Weight }
  | { readonly kind: "graph"; readonly value: Graph }
  /** Inside a function: the attribute of that name of the node that calls it. */
  | { readonly kind: "reference"; readonly value: string };

export type Attributes = Readonly<Record<string, Attribute>>;

export interface GraphNode {
  readonly op: string;
  /** "" is the standard's own domain; "ai.onnx" is written so too. */
  readonly domain: string;
  readonly name: string;
  /** An empty name is an optional input that is not given. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Attributes;
  /** Path of the module that the node was made in, where the exporter noted it. */
  readonly module?: string;
}

export interface GraphInput {
  readonly name: string;
  readonly type: Weight["type"];
  /** A number where it is fixed, else its symbol ("batch_size"). */
  readonly shape: readonly (number | string)[];
}

export interface Graph {
  readonly nodes: readonly GraphNode[];
  readonly inputs: readonly GraphInput[];
  readonly outputs: readonly string[];
  readonly weights: ReadonlyMap<string, Weight>;
  /** Version of each operator set by domain. */
  readonly opsets: ReadonlyMap<string, number>;
}

export const int = (value: number): Attribute => ({ kind: "int", value });
export const float = (value: number): Attribute => ({ kind: "float", value });
export const ints = (value: readonly number[]): Attribute => ({ kind: "ints", value });
export const floats = (value: readonly number[]): Attribute => ({ kind: "floats", value });
export const string = (value: string): Attribute => ({ kind: "string", value });

interface HasAttributes {
  readonly op: string;
  readonly name: string;
  readonly attributes: Attributes;
}

export function intOf(node: HasAttributes, name: string, absent: number): number {
  const attribute = node.attributes[name];
  return attribute === undefined ? absent : (expectKind(node, name, attribute, "int") as number);
}

export function floatOf(node: HasAttributes, name: string, absent: number): number {
  const attribute = node.attributes[name];
  return attribute === undefined ? absent : (expectKind(node, name, attribute, "float") as number);
}

export function stringOf(node: HasAttributes, name: string, absent: string): string {
  const attribute = node.attributes[name];
  return attribute === undefined ? absent : (expectKind(node, name, attribute, "string") as string);
}

export function intsOf(node: HasAttributes, name: string): readonly number[] | undefined {
  const attribute = node.attributes[name];
  return attribute === undefined
    ? undefined
    : (expectKind(node, name, attribute, "ints") as readonly number[]);
}

function expectKind(node: HasAttributes, name: string, attribute: Attribute, kind: Attribute["kind"]) {
  if (attribute.kind === kind) return attribute.value;
  throw new TypeError(
    `Attribute "${name}" of ${node.op} "${node.name}" must be ${kind}, got ${attribute.kind}`,
  );
}
