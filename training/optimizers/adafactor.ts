/**
 * Adafactor with an external learning rate, no momentum and update clipping at 1: what TrainingArguments'
 * `optim: adafactor` runs. For a matrix the second moments are kept as row means R and column means C only.
 *
 *   β̂₂ = 1 - t^-0.8        R ← β̂₂R + (1-β̂₂) rowmean(g² + ε₁)        C likewise over columns
 *   u = g / √(R Cᵀ / mean(R))        u ← u / max(1, RMS(u))        θ ← θ - γλθ - γu
 *
 *   γ learning_rate   λ weight_decay   ε₁ 1e-30
 *
 * A tensor of rank above 2 is factored over its last two axes; a vector keeps all its second moments.
 *
 * Source: Shazeer and Stern 2018, Algorithm 4 and section 6, https://arxiv.org/abs/1804.04235
 */
import { sizeOf } from "../../adapters/tensor.ts";
import type { TrainingOptions } from "../../config/training.ts";
import type { UpdateRule } from "./rule.ts";

const EPSILON = 1e-30;
const DECAY_POWER = -0.8;
const CLIP_THRESHOLD = 1;

export function adafactor({ weight_decay: decay }: TrainingOptions): UpdateRule {
  return {
    elementwise: false, // means over rows, columns and the whole tensor
    slots: ({ shape }): Record<string, readonly number[]> =>
      shape.length < 2
        ? { exp_avg_sq: shape }
        : { row: shape.slice(0, -1), column: [...shape.slice(0, -2), shape.at(-1)!] },
    update({ data, shape }, gradient, slots, step, learningRate) {
      const kept = 1 - step ** DECAY_POWER;
      const update =
        shape.length < 2
          ? vectorUpdate(gradient, slots.exp_avg_sq!, kept)
          : matrixUpdate(gradient, shape, slots.row!, slots.column!, kept);
      let squares = 0;
      for (const u of update) squares += u * u;
      const scale = learningRate / Math.max(1, Math.sqrt(squares / update.length) / CLIP_THRESHOLD);
      for (let i = 0; i < data.length; i++) {
        data[i] = data[i]! * (1 - learningRate * decay) - scale * update[i]!;
      }
    },
  };
}

function vectorUpdate(gradient: Float32Array, v: Float32Array, kept: number): Float64Array {
  return Float64Array.from(gradient, (g, i) => {
    v[i] = kept * v[i]! + (1 - kept) * (g * g + EPSILON);
    return g / Math.sqrt(v[i]!);
  });
}

function matrixUpdate(
  gradient: Float32Array,
  shape: readonly number[],
  row: Float32Array,
  column: Float32Array,
  kept: number,
): Float64Array {
  const rows = shape.at(-2)!;
  const columns = shape.at(-1)!;
  const matrices = sizeOf(shape.slice(0, -2));
  const update = new Float64Array(gradient.length);
  for (let m = 0; m < matrices; m++) {
    const at = m * rows * columns;
    const rowSums = new Float64Array(rows);
    const columnSums = new Float64Array(columns);
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        const g = gradient[at + r * columns + c]!;
        rowSums[r]! += g * g + EPSILON;
        columnSums[c]! += g * g + EPSILON;
      }
    }
    let rowTotal = 0;
    for (let r = 0; r < rows; r++) {
      const i = m * rows + r;
      row[i] = kept * row[i]! + (1 - kept) * (rowSums[r]! / columns);
      rowTotal += row[i]!;
    }
    for (let c = 0; c < columns; c++) {
      const i = m * columns + c;
      column[i] = kept * column[i]! + (1 - kept) * (columnSums[c]! / rows);
    }
    const rowMean = rowTotal / rows;
    for (let r = 0; r < rows; r++) {
      const rowFactor = 1 / Math.sqrt(row[m * rows + r]! / rowMean);
      for (let c = 0; c < columns; c++) {
        const i = at + r * columns + c;
        update[i] = (gradient[i]! * rowFactor) / Math.sqrt(column[m * columns + c]!);
      }
    }
  }
  return update;
}
