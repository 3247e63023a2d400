/**
 * The weights of a graph with an adapter inside: W + scale * B·A in place of W, whole parameters in place of theirs.
 *
 * Sums run in float64 and are rounded once to the type that the graph stores, so that a float32 graph with the adapter
 * inside gives what the adapter beside it gives, up to float32 sums in another order.
 */
import { type Adapter, scaleOf } from "../../adapters/adapter.ts";
import { type FloatDType, floats, floatTensor, isFloat } from "../../adapters/cast.ts";
import { type Tensor, tensor } from "../../adapters/tensor.ts";
import { factorPairs, parseName } from "../../adapters/tensor-names.ts";
import { valuesOf, type Weight } from "../onnx/weight.ts";
import { cannot, type FindPlaces, type Place, turned } from "./places.ts";

export interface MergedWeight {
  readonly name: string;
  readonly weight: Weight;
  /** In the type and layout of `weight`. */
  readonly bytes: Uint8Array;
  /** As Place has it: the weight itself stays. */
  readonly copyFor?: string | undefined;
}

export interface MergePlan {
  /** Names of the adapter's tensors that this graph has a place for. */
  readonly placed: ReadonlySet<string>;
  /** Computed one at a time: memory is that of the largest weight. */
  merged(): Generator<MergedWeight>;
}

type Change = (values: Float64Array) => void;

/** @throws FedloomError F3013 where a place is too small or too large for the adapter's tensor */
export function planMerge(adapter: Adapter, find: FindPlaces, file: string): MergePlan {
  const changes = new Map<string, Pick<Place, "weightName" | "weight" | "copyFor"> & { changes: Change[] }>();
  const placed = new Set<string>();
  const change = (
    names: readonly string[],
    rows: number,
    columns: number,
    at: (place: Place) => Change,
  ): void => {
    const places = find(names[0]!);
    if (places.length > 0) for (const name of names) placed.add(name);
    for (const place of places) {
      if (place.rows !== rows || place.columns !== columns) {
        throw cannot(
          file,
          `tensor "${names[0]}" wants ${rows} x ${columns} numbers, "${place.weightName}" has ${place.rows} x ${place.columns}`,
        );
      }
      const { weightName, weight, copyFor } = place;
      const key = copyFor === undefined ? weightName : `${weightName} for ${copyFor}`;
      const entry = changes.get(key) ?? { weightName, weight, ...(copyFor && { copyFor }), changes: [] };
      changes.set(key, entry);
      entry.changes.push(at(place));
    }
  };

  for (const [name, whole] of adapter.tensors) {
    const part = parseName(name)?.part;
    if (part !== "weight" && part !== "bias") continue;
    const [rows, ...rest] = whole.shape as [number, ...number[]];
    const columns = rest.reduce((product, dim) => product * dim, 1);
    change([name], rows, columns, (place) => (values) => put(values, place, floats(whole)));
  }
  for (const { module, a, b, kind } of factorPairs(adapter.tensors.keys())) {
    const scale = scaleOf(adapter.config, module);
    const [left, right] = [adapter.tensors.get(b)!, adapter.tensors.get(a)!];
    const [out, width] = [left.shape[0]!, right.shape[1]!];
    // An embedding's table is [vocabulary, hidden]: the transpose of B·A.
    if (kind === "linear")
      change([a, b], out, width, (place) => (values) => add(values, place, scale, left, right));
    else change([a, b], width, out, (place) => (values) => add(values, turned(place), scale, left, right));
  }
  return {
    placed,
    *merged() {
      for (const { weightName: name, weight, copyFor, changes: own } of changes.values()) {
        const { type } = weight;
        if (type === "U4" || type === "I4" || !isFloat(type)) {
          throw cannot(file, `weight "${name}" must be floating-point, got ${type}`);
        }
        yield { name, weight, bytes: changed(weight, type, own), copyFor };
      }
    },
  };
}

function changed(weight: Weight, type: FloatDType, changes: readonly Change[]): Uint8Array {
  const values = Float64Array.from(floats(tensor(type, weight.shape, valuesOf(weight))));
  for (const change of changes) change(values);
  const { data } = floatTensor(type, weight.shape, values);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function put(values: Float64Array, place: Place, whole: Float32Array | Float64Array): void {
  const { start, rows, columns, rowStep, columnStep, offset = 0 } = place;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++)
      values[start + i * rowStep + j * columnStep] = whole[i * columns + j]! + offset;
  }
}

function add(values: Float64Array, place: Place, scale: number, b: Tensor, a: Tensor): void {
  const { start, rows, columns, rowStep, columnStep } = place;
  const [left, right] = [floats(b), floats(a)];
  const rank = a.shape[0]!;
  const row = new Float64Array(columns);
  for (let i = 0; i < rows; i++) {
    row.fill(0);
    for (let k = 0; k < rank; k++) {
      const factor = left[i * rank + k]!;
      for (let j = 0; j < columns; j++) row[j]! += factor * right[k * columns + j]!;
    }
    for (let j = 0; j < columns; j++) values[start + i * rowStep + j * columnStep]! += scale * row[j]!;
  }
}
