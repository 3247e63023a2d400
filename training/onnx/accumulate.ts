/** Sums of gradients in cheaper forms: slices side by side, and products that add to what is there. */
import { integers, made } from "./finished.ts";
import type { Maths } from "./maths.ts";
import { padsOf } from "./operators/layout.ts";
import { type Operation, type Program, sameShape, usesOf, type Value } from "./program.ts";

/** The sum of what several readers of a value give back. Pieces that lie side by side are joined, not padded and added. */
export function sumOf(parts: readonly Value[], g: Maths): Value {
  const padded = parts.filter((part) => paddedPiece(part) !== undefined);
  const joined = sideBySide(padded, g);
  const rest = joined === undefined ? parts : parts.filter((part) => !padded.includes(part));
  return [...(joined === undefined ? [] : [joined]), ...rest].reduce((sum, part) => g.add(sum, part));
}

/** Parts that are all zero-padded along one axis and together cover it once. */
function sideBySide(parts: readonly Value[], g: Maths): Value | undefined {
  if (parts.length < 2) return undefined;
  const pieces = parts.map((part) => paddedPiece(part));
  const axis = pieces[0]?.axis;
  if (axis === undefined || pieces.some((piece) => piece?.axis !== axis)) return undefined;
  const ordered = pieces.map((piece) => piece!).sort((a, b) => a.from - b.from);
  let at = 0;
  for (const { from, value } of ordered) {
    if (from !== at) return undefined;
    at += value.shape[axis]!;
  }
  if (at !== parts[0]!.shape[axis]) return undefined;
  return g.concat(
    ordered.map(({ value }) => value),
    axis,
  );
}

function paddedPiece(part: Value): { axis: number; from: number; value: Value } | undefined {
  if (part.from?.op !== "Pad") return undefined;
  const pads = padsOf(part.from);
  const padded = pads.flatMap(({ before, after }, axis) => (before + after > 0 ? [axis] : []));
  if (padded.length !== 1) return undefined;
  const [axis] = padded as [number];
  return { axis, from: pads[axis]!.before, value: part.from.inputs[0]! };
}

/**
 * Add(Gemm(a, b), c) becomes Gemm(a, b, c), through a Reshape of the product: the runtime adds while it
 * multiplies, and one tensor less is written and read.
 */
export function addInProducts(program: Program): Program {
  const uses = usesOf(program);

  const gone = new Set<Operation>();
  const operations = program.operations.flatMap((operation): readonly Operation[] => {
    if (operation.op !== "Add" || operation.domain !== "") return [operation];
    // The later operand is taken: the other one is then there already.
    for (const side of [1, 0]) {
      const [product, other] = [operation.inputs[side]!, operation.inputs[1 - side]!];
      const fusedAdd = added(operation, product, other, uses, gone);
      if (fusedAdd !== undefined) return fusedAdd;
    }
    return [operation];
  });
  return { ...program, operations: operations.filter((operation) => !gone.has(operation)) };
}

function added(
  operation: Operation,
  product: Value,
  other: Value,
  uses: ReadonlyMap<Value, number>,
  gone: Set<Operation>,
): readonly Operation[] | undefined {
  const reshape = product.from?.op === "Reshape" ? product.from : undefined;
  const flat = reshape ? reshape.inputs[0]! : product;
  const gemm = flat.from;
  if (gemm === undefined || !isProduct(gemm) || gone.has(gemm)) return undefined;
  if (uses.get(product) !== 1 || uses.get(flat) !== 1) return undefined;
  if (!sameShape(other.shape, product.shape)) return undefined;
  gone.add(gemm);
  const [sum] = operation.outputs as [Value];
  const adding = (addend: Value, result: Value): Operation => ({
    ...gemm,
    op: "Gemm",
    name: operation.name,
    inputs: [...gemm.inputs.slice(0, 2), addend],
    outputs: [result],
  });
  if (reshape === undefined) return [adding(other, sum)];
  gone.add(reshape);
  const addend = made(`${sum.name}/addend`, flat, flat.shape);
  const result = made(`${sum.name}/flat`, flat, flat.shape);
  // The shape constants: that of the sum is the old Reshape's, that of the addend is the rows of it.
  const rows = integers(`${product.name}/rows`, flat.shape);
  return [
    { ...reshape, inputs: [other, rows], outputs: [addend] },
    adding(addend, result),
    { ...reshape, inputs: [result, reshape.inputs[1]], outputs: [sum] },
  ];
}

/** Of two matrices, with nothing added yet. */
function isProduct({ op, domain, inputs }: Operation): boolean {
  const [a, b, addend] = inputs;
  if (domain !== "" || addend !== undefined) return false;
  return op === "Gemm" || (op === "MatMul" && a!.shape.length === 2 && b!.shape.length === 2);
}
