/**
 * A gradient rule: one operator, the versions it holds for, and how the gradients of its inputs follow from
 * those of its outputs. A thunk a differentiable input, null where there is no gradient; only thunks on a
 * path to something trained are called.
 */
import { FedloomError } from "../../../base/errors.ts";
import type { Maths } from "../maths.ts";
import type { Call, Operation, Value } from "../program.ts";

export type Thunk = () => Value;

/** What else a rule may look at: everything behind its node has been walked through. */
export interface Surroundings {
  /** The operations of the forward part that read a value. */
  readers(value: Value): readonly Operation[];
  /** The gradient of a value that lies behind the node. */
  gradientOf(value: Value): Value | undefined;
}

export interface GradientRule {
  readonly op: string;
  /** "" where absent. */
  readonly domain?: string;
  /** First and last version of the operator set that the rule is right for. */
  readonly opset: readonly [number, number];
  /** @param dys gradient of each output; undefined where nothing flows back through it */
  backward(
    node: Operation,
    dys: readonly (Value | undefined)[],
    g: Maths,
    around: Surroundings,
  ): readonly (Thunk | null)[];
}

/** The newest version of the standard's operator set that the rules were written against. */
export const NEWEST_OPSET = 24;

/** @throws FedloomError F2111 naming operator and node */
export function refuse(node: Call, why: string): never {
  const what = `${node.domain && `${node.domain}.`}${node.op}`;
  throw new FedloomError("F2111", `Cannot differentiate ${what} of node "${node.name}": ${why}`, {
    operator: what,
    node: node.name,
  });
}
