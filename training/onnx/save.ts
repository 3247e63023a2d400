/** Writes a program as an ONNX model. Weights that lie in a file stay there and are named by place. */
import { encodeModel } from "./format/codec.ts";
import type { AttributeProto, NodeProto, TensorProto, ValueInfoProto } from "./format/schema.ts";
import type { Attribute } from "./graph.ts";
import type { Program, Value } from "./program.ts";
import { ELEMENT_NUMBERS, type Weight } from "./weight.ts";

/** The oldest operator set whose forms the engine emits; newer operators of the source keep theirs. */
const EMITTED_OPSET = 21;
const IR_VERSION = 10;

export function saveProgram(program: Program, sourceOpset: number): Uint8Array<ArrayBuffer> {
  const weights = new Map<Value, TensorProto>();
  for (const { inputs } of program.operations)
    for (const input of inputs)
      if (input?.weight && !weights.has(input)) weights.set(input, tensorProto(input.name, input.weight));
  const names = outputNames(program);
  const nameOf = (value: Value): string => names.get(value) ?? value.name;
  const nodes = program.operations.map(
    (operation, i): NodeProto => ({
      name: `${operation.name || operation.op}#${i}`,
      opType: operation.op,
      domain: operation.domain,
      input: operation.inputs.map((input) => (input ? nameOf(input) : "")),
      output: operation.outputs.map(nameOf),
      attribute: Object.entries(operation.attributes).map(([name, value]) => attributeProto(name, value)),
    }),
  );
  const results = [...program.outputs].map(([name, value]) => {
    // An output that is an input, a constant or another output needs a node to carry its name.
    if (nameOf(value) !== name)
      nodes.push({ name: `output ${name}`, opType: "Identity", input: [nameOf(value)], output: [name] });
    if (value.weight && !weights.has(value)) weights.set(value, tensorProto(value.name, value.weight));
    return valueInfo({ ...value, name });
  });
  return encodeModel({
    irVersion: IR_VERSION,
    producerName: "fedloom",
    opsetImport: [
      { domain: "", version: Math.max(EMITTED_OPSET, sourceOpset) },
      { domain: "com.microsoft", version: 1 },
    ],
    graph: {
      name: "training",
      node: nodes,
      initializer: [...weights.values()],
      input: program.inputs.map(valueInfo),
      output: results,
    },
  });
}

/** Results of operations that are outputs bear the outputs' names. */
function outputNames({ operations, outputs }: Program): ReadonlyMap<Value, string> {
  const results = new Set(operations.flatMap((operation) => operation.outputs));
  const names = new Map<Value, string>();
  for (const [name, value] of outputs) if (results.has(value) && !names.has(value)) names.set(value, name);
  return names;
}

function valueInfo({ name, type, shape }: Pick<Value, "name" | "type" | "shape">): ValueInfoProto {
  const dim = shape.map((dimValue) => ({ dimValue }));
  return { name, type: { tensorType: { elemType: ELEMENT_NUMBERS[type], shape: { dim } } } };
}

function tensorProto(name: string, weight: Weight): TensorProto {
  const proto = { name, dims: [...weight.shape], dataType: ELEMENT_NUMBERS[weight.type] };
  if (weight.source === undefined) return { ...proto, rawData: weight.bytes() };
  const { location, offset, length } = weight.source;
  const entries = { location, offset, length };
  const externalData = Object.entries(entries).map(([key, value]) => ({ key, value: String(value) }));
  return { ...proto, dataLocation: 1, externalData };
}

function attributeProto(name: string, attribute: Attribute): AttributeProto {
  const text = new TextEncoder();
  switch (attribute.kind) {
    case "float":
      return { name, type: 1, f: attribute.value };
    case "int":
      return { name, type: 2, i: attribute.value };
    case "string":
      return { name, type: 3, s: text.encode(attribute.value) };
    case "tensor":
      return { name, type: 4, t: tensorProto("", attribute.value) };
    case "floats":
      return { name, type: 6, floats: [...attribute.value] };
    case "ints":
      return { name, type: 7, ints: [...attribute.value] };
    case "strings":
      return { name, type: 8, strings: attribute.value.map((s) => text.encode(s)) };
    default:
      throw new TypeError(`Attribute "${name}" of kind ${attribute.kind} cannot be written`);
  }
}
