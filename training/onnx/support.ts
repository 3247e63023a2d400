/** What the engine does with each operator, read from its tables: nothing is stated twice. */
import { LOWERINGS } from "./lowerings/index.ts";
import { OPERATORS } from "./operators/index.ts";
import { RULES } from "./rules/index.ts";
import { reasonWithoutGradient } from "./rules/no-gradient.ts";

export interface Support {
  /** "Softmax", "com.microsoft.GroupQueryAttention". */
  readonly operator: string;
  readonly kind: "rule" | "lowering" | "no gradient" | "forward only";
  /** Versions of its operator set, where a rule or a lowering states them. */
  readonly opset?: readonly [number, number];
  /** Why no gradient flows through it. */
  readonly reason?: string;
}

const nameOf = ({ op, domain = "" }: { op: string; domain?: string }): string =>
  domain === "" ? op : `${domain}.${op}`;

/** Taken apart before operators are looked up. */
const RESOLVED: readonly Support[] = [
  { operator: "Constant", kind: "no gradient", reason: "a constant" },
  { operator: "If", kind: "lowering", opset: [9, 24] },
  { operator: "com.microsoft.Attention", kind: "lowering", opset: [1, 1] },
  { operator: "com.microsoft.FusedConv", kind: "lowering", opset: [1, 1] },
  { operator: "com.microsoft.FusedGemm", kind: "lowering", opset: [1, 1] },
];

/** Every operator that the engine knows, in order of names; operators of our own are left out. */
export function allSupport(): readonly Support[] {
  const known = new Map<string, Support>();
  for (const kind of OPERATORS) known.set(nameOf(kind), { operator: nameOf(kind), kind: "forward only" });
  for (const rule of RULES) {
    const reason = rule.domain ? undefined : reasonWithoutGradient(rule.op);
    const operator = nameOf(rule);
    known.set(
      operator,
      reason === undefined
        ? { operator, kind: "rule", opset: rule.opset }
        : { operator, kind: "no gradient", reason },
    );
  }
  for (const lowering of LOWERINGS)
    if (lowering.domain !== "fedloom")
      known.set(nameOf(lowering), { operator: nameOf(lowering), kind: "lowering", opset: lowering.opset });
  for (const support of RESOLVED) known.set(support.operator, support);
  return [...known.values()].sort((a, b) => (a.operator < b.operator ? -1 : 1));
}

/** What is done with an operator, undefined where it has no rule: it may stand where no gradient flows. */
export function supportOf(operator: string): Support | undefined {
  if (operator.startsWith("fedloom.")) return { operator, kind: "lowering" };
  return allSupport().find((support) => support.operator === operator && support.kind !== "forward only");
}
