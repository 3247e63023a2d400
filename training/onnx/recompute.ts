/**
 * Gradients with activations computed again instead of kept (gradient checkpointing).
 *
 * The forward part falls into blocks between values that everything behind them comes through: in a decoder, the
 * residual stream before and behind each attention and each feed-forward part. Only those values are kept. Going
 * backwards, a block is built a second time from its first value x, differentiated, and forgotten.
 *
 * The second time begins with x + 0 · dy, dy the gradient that arrives: without that dependency the runtime would take
 * both for the same computation and do it once, early, and keep everything.
 */
import { sizeOf } from "../../adapters/tensor.ts";
import { differentiate } from "./differentiate.ts";
import type { Maths } from "./maths.ts";
import type { Operation, Value } from "./program.ts";
import { replay } from "./replay.ts";

/** As `differentiate`. */
export function differentiateAgain(
  operations: readonly Operation[],
  seeds: ReadonlyMap<Value, Value>,
  wanted: Iterable<Value>,
  opsets: ReadonlyMap<string, number>,
  g: Maths,
): ReadonlyMap<Value, Value> {
  const targets = new Set(wanted);
  const blocks = blocksOf(operations, seeds, targets);
  const sums = new Map<Value, Value>();
  const add = (value: Value, gradient: Value): void => {
    const before = sums.get(value);
    sums.set(value, before === undefined ? gradient : g.add(before, gradient));
  };
  let arriving = seeds;
  for (const { first, own, isLast } of blocks.toReversed()) {
    const [end] = arriving.keys();
    const dy = end && arriving.get(end);
    if (dy === undefined) break;
    const again = isLast || first === undefined ? undefined : rebuilt(own, first, dy, g);
    const begin = again?.values.get(first!) ?? first;
    const given = again === undefined ? arriving : new Map([[again.values.get(end!) ?? end!, dy]]);
    const asked = begin === undefined ? [...targets] : [...targets, begin];
    const gradients = differentiate(again?.operations ?? own, given, asked, opsets, g);
    for (const value of targets) {
      const gradient = gradients.get(value);
      if (gradient !== undefined && value !== begin) add(value, gradient);
    }
    const onward = begin && gradients.get(begin);
    if (onward === undefined) break;
    if (targets.has(first!)) add(first!, onward);
    arriving = new Map([[first!, onward]]);
  }
  return sums;
}

interface Block {
  /** What it begins with; nothing for the first. */
  readonly first: Value | undefined;
  readonly own: readonly Operation[];
  readonly isLast: boolean;
}

/** Cuts where a single value that depends on something wanted is still to be read. */
function blocksOf(
  operations: readonly Operation[],
  seeds: ReadonlyMap<Value, Value>,
  targets: ReadonlySet<Value>,
): readonly Block[] {
  const lastRead = new Map<Value, number>();
  operations.forEach(({ inputs }, at) => {
    for (const input of inputs) if (input) lastRead.set(input, at);
  });
  for (const seed of seeds.keys()) lastRead.set(seed, operations.length);
  const active = new Set(targets);
  const open = new Set<Value>();
  const blocks: Block[] = [];
  let [from, first] = [0, undefined as Value | undefined];
  operations.forEach(({ inputs, outputs }, at) => {
    const depends = inputs.some((input) => input !== undefined && active.has(input));
    for (const output of outputs) {
      if (!depends) continue;
      active.add(output);
      if (lastRead.has(output)) open.add(output);
    }
    for (const input of inputs) if (input && lastRead.get(input) === at) open.delete(input);
    const [single, ...others] = open;
    if (single === undefined || others.length > 0 || !outputs.includes(single) || seeds.has(single)) return;
    blocks.push({ first, own: operations.slice(from, at + 1), isLast: false });
    [from, first] = [at + 1, single];
  });
  return [...blocks, { first, own: operations.slice(from), isLast: true }];
}

/** The operations that depend on `first`, made anew once `dy` is there. */
function rebuilt(
  operations: readonly Operation[],
  first: Value,
  dy: Value,
  g: Maths,
): { readonly operations: readonly Operation[]; readonly values: ReadonlyMap<Value, Value> } {
  const values = new Map([[first, behind(first, dy, g)]]);
  const before = g.builder.operations.length;
  replay(operations, values, g);
  // What does not depend on `first` (joined factors, say) is read where it stands, and may lead to something wanted.
  const kept = operations.filter(({ inputs }) => !inputs.some((input) => input && values.has(input)));
  return { operations: [...kept, ...g.builder.operations.slice(before)], values };
}

/** A value that is there once a gradient is: x + 0 · dy. */
export function behind(value: Value, dy: Value, g: Maths): Value {
  const element = g.slice(g.reshape(dy, [sizeOf(dy.shape)]), 0, 0, 1);
  return g.add(value, g.cast(g.mul(element, 0), value.type));
}
