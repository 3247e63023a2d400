/**
 * Einsum: the gradient of an operand is an Einsum of dY with the other operands onto the operand's letters;
 * letters that it alone has were summed away and are spread again.
 *
 * A letter twice in one term (a diagonal) is refused.
 * Source: https://onnx.ai/onnx/operators/onnx__Einsum.html
 */
import { string } from "../graph.ts";
import { einsumTerms } from "../operators/products.ts";
import { type GradientRule, refuse } from "./rule.ts";

export const einsum: GradientRule = {
  op: "Einsum",
  opset: [12, 24],
  backward(node, [dy], g) {
    const { terms, result } = einsumTerms(node);
    for (const term of [...terms, result])
      if (new Set(term).size !== term.length) refuse(node, `term "${term}" must not repeat a letter`);
    return terms.map((term, i) => () => {
      const operand = node.inputs[i]!;
      const others = terms.filter((_, other) => other !== i);
      const known = [...term].filter((letter) => [result, ...others].some((other) => other.includes(letter)));
      const equation = `${[result, ...others].join(",")}->${known.join("")}`;
      const inputs = [dy!, ...node.inputs.filter((_, other) => other !== i)];
      const gradient = g.op("Einsum", inputs, { equation: string(equation) });
      let next = 0;
      const shape = [...term].map((letter) => (known.includes(letter) ? gradient.shape[next++]! : 1));
      // An axis that was broadcast is summed over, one that was summed away is spread.
      const own = operand.shape.map((dim, axis) => (known.includes(term[axis]!) ? dim : 1));
      return g.expand(g.sumTo(g.reshape(gradient, shape), { shape: own }), operand.shape);
    });
  },
};
