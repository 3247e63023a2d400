/** An optimizer's state of one parameter, and what it moves: all of it, or the rows of an embedding that were met. */
import { sizeOf } from "../../adapters/tensor.ts";
import type { Parameter, Slots, UpdateRule } from "./rule.ts";

export interface State {
  update(gradient: Float32Array, step: number, learningRate: number): void;
  /** A copy, in the shapes that the rule states. */
  slots(): Slots;
}

/** @param saved slots to go on from; those that are absent begin at zero */
export function stateOf(rule: UpdateRule, parameter: Parameter, saved: Slots): State {
  if (!parameter.table) return whole(rule, parameter, saved);
  return rule.elementwise ? byRows(rule, parameter, saved) : rowsPutBack(rule, parameter, saved);
}

function whole(rule: UpdateRule, parameter: Parameter, saved: Slots): State {
  const slots = Object.fromEntries(
    Object.entries(rule.slots(parameter)).map(([slot, shape]) => [
      slot,
      saved[slot]?.slice() ?? new Float32Array(sizeOf(shape)),
    ]),
  );
  return {
    update: (gradient, step, learningRate) => rule.update(parameter, gradient, slots, step, learningRate),
    slots: () => Object.fromEntries(Object.entries(slots).map(([slot, data]) => [slot, data.slice()])),
  };
}

/**
 * Where a rule moves elements apart from each other, rows that have a gradient move and all others keep their bits. A row's
 * state is there from the first step on that moves it: of a vocabulary of which a client's examples meet a tenth, a tenth.
 */
function byRows(rule: UpdateRule, parameter: Parameter, saved: Slots): State {
  const { data, shape } = parameter;
  const [rows, width] = shape as [number, number];
  const names = Object.keys(rule.slots(parameter));
  const part = (all: Float32Array, row: number): Float32Array => all.subarray(row * width, (row + 1) * width);
  const begun = (row: number): Slots =>
    Object.fromEntries(
      names.map((name) => {
        const kept = saved[name];
        return [name, kept === undefined ? new Float32Array(width) : part(kept, row).slice()];
      }),
    );
  const states = new Map<number, Slots>();
  for (let row = 0; row < rows; row++)
    if (Object.values(saved).some((all) => isTouched(all, row * width, (row + 1) * width)))
      states.set(row, begun(row));
  return {
    update(gradient, step, learningRate) {
      for (let row = 0; row < rows; row++) {
        if (!isTouched(gradient, row * width, (row + 1) * width)) continue;
        const slots = states.get(row) ?? begun(row);
        states.set(row, slots);
        const one = { ...parameter, shape: [1, width], data: part(data, row) };
        rule.update(one, part(gradient, row), slots, step, learningRate);
      }
    },
    slots() {
      const whole = names.map((name) => [name, new Float32Array(rows * width)] as const);
      for (const [name, all] of whole) for (const [row, slots] of states) all.set(slots[name]!, row * width);
      return Object.fromEntries(whole);
    },
  };
}

/** Where a rule looks at the whole tensor, rows without a gradient are put back. */
function rowsPutBack(rule: UpdateRule, parameter: Parameter, saved: Slots): State {
  const { data, shape } = parameter;
  const [rows, width] = shape as [number, number];
  const state = whole(rule, parameter, saved);
  return {
    ...state,
    update(gradient, step, learningRate) {
      const before = data.slice();
      state.update(gradient, step, learningRate);
      for (let row = 0; row < rows; row++) {
        const [from, to] = [row * width, (row + 1) * width];
        if (!isTouched(gradient, from, to)) data.set(before.subarray(from, to), from);
      }
    },
  };
}

function isTouched(values: Float32Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (values[i] !== 0) return true;
  return false;
}
