/**
 * What a strategy adds to the gradient of the task's loss, before clipping. With w the weights, w₀ those that
 * were handed out:
 *
 *   proximal    μ·weight·(w - w₀)                       over the layers in the range
 *   correction  a constant                              SCAFFOLD's c - c_k, FedDyn's -h_k
 *   sign        d/dB weight·‖tanh(γB) - S‖ / (‖S‖ + 1e-6), S = sign(B₀)     YOCO, on every lora_B
 *   sparsity    λ·sign(A), 0 at 0                       YOCO, on every lora_A
 *   tail        λ·‖other factor's tail‖·T / ‖T‖         HetLoRA, on the tail T of every factor; 0 where T is 0
 */
import { floats } from "../adapters/cast.ts";
import { factorPairs } from "../adapters/tensor-names.ts";
import { FedloomError } from "../base/errors.ts";
import type { Parameter } from "./optimizers/rule.ts";
import { type Tail, tailNorm, tailOf } from "./rank-pruning.ts";
import type { TrainTask } from "./trainer.ts";

/** Adds to `gradient` in place. @param progress share of the task's steps that are done, 0 at the first step */
type Term = (gradient: Float32Array, progress: number) => void;

export type GradientTerms = (gradients: ReadonlyMap<string, Float32Array>, progress: number) => void;

type Terms = Pick<TrainTask, "proximal" | "regularizers" | "corrections">;

/** @param parameters at the values they were handed out with */
export function gradientTerms(task: Terms, parameters: readonly Parameter[]): GradientTerms {
  const terms = new Map(parameters.map((parameter) => [parameter.name, termsOf(task, parameter)]));
  const { tail } = task.regularizers ?? {};
  if (tail !== undefined) {
    // A module with a frozen factor has no product to hold down: its rank is the frozen factor's.
    const byName = new Map(parameters.map((parameter) => [parameter.name, parameter]));
    for (const { a, b } of factorPairs(byName.keys())) {
      const [ofA, ofB] = tailTerms(byName.get(a)!, byName.get(b)!, tail);
      terms.get(a)!.push(ofA);
      terms.get(b)!.push(ofB);
    }
  }
  return (gradients, progress) => {
    for (const [name, gradient] of gradients) {
      for (const add of terms.get(name) ?? []) add(gradient, progress);
    }
  };
}

function termsOf({ proximal, regularizers, corrections }: Terms, parameter: Parameter): Term[] {
  const terms: Term[] = [];
  const { name, data } = parameter;
  if (proximal !== undefined && inLayers(name, proximal.layers)) {
    terms.push(proximalTerm(data, proximal.mu * proximal.weight));
  }
  const correction = corrections?.gradient?.get(name);
  if (correction !== undefined) {
    const values = floats(correction);
    if (values.length !== data.length) {
      throw new FedloomError(
        "F2138",
        `Cannot correct the gradient of "${name}": the correction must have shape [${parameter.shape.join(", ")}], got [${correction.shape.join(", ")}]`,
      );
    }
    terms.push((gradient) => {
      for (let i = 0; i < gradient.length; i++) gradient[i]! += values[i]!;
    });
  }
  if (regularizers?.sign !== undefined && name.endsWith(".lora_B.weight")) {
    terms.push(signTerm(data, regularizers.sign));
  }
  if (regularizers?.sparsity !== undefined && name.endsWith(".lora_A.weight")) {
    const { lambda } = regularizers.sparsity;
    terms.push((gradient) => {
      for (let i = 0; i < gradient.length; i++) gradient[i]! += lambda * Math.sign(data[i]!);
    });
  }
  return terms;
}

/** Of a module's two factors, each with the other's norm as it stands: the gradients of one product. */
function tailTerms(
  a: Parameter,
  b: Parameter,
  { lambda, keep }: { readonly lambda: number; readonly keep: number },
): [Term, Term] {
  const tails = { a: tailOf("A", a.shape, keep), b: tailOf("B", b.shape, keep) };
  const term =
    (own: Float32Array, tail: Tail, other: () => number): Term =>
    (gradient) => {
      const norm = tailNorm(tail, own);
      if (norm === 0) return; // no derivative there; the product is 0 whatever the other is
      const scale = (lambda * other()) / norm;
      for (const at of tail.positions) gradient[at]! += scale * own[at]!;
    };
  return [
    term(a.data, tails.a, () => tailNorm(tails.b, b.data)),
    term(b.data, tails.b, () => tailNorm(tails.a, a.data)),
  ];
}

/** The first number in a name is its layer; a name without one is in no range. */
function inLayers(name: string, layers: readonly [number, number] | undefined): boolean {
  if (layers === undefined) return true;
  const layer = /\.(\d+)\./.exec(name)?.[1];
  return layer !== undefined && Number(layer) >= layers[0] && Number(layer) <= layers[1];
}

function proximalTerm(data: Float32Array, strength: number): Term {
  const start = data.slice();
  return (gradient) => {
    for (let i = 0; i < gradient.length; i++) gradient[i]! += strength * (data[i]! - start[i]!);
  };
}

function signTerm(
  data: Float32Array,
  { weight, gamma: [from, to] }: { readonly weight: number; readonly gamma: readonly [number, number] },
): Term {
  const signs = Int8Array.from(data, Math.sign);
  const length = Math.sqrt(signs.reduce((sum, s) => sum + s * s, 0)) + 1e-6;
  return (gradient, progress) => {
    const gamma = to + (from - to) * 0.5 * (1 + Math.cos(Math.PI * progress));
    const squashed = Float64Array.from(data, (b) => Math.tanh(gamma * b));
    let squares = 0;
    for (let i = 0; i < signs.length; i++) squares += (squashed[i]! - signs[i]!) ** 2;
    const distance = Math.sqrt(squares);
    if (distance === 0) return; // at its least; the norm has no derivative there
    const scale = weight / (length * distance);
    for (let i = 0; i < gradient.length; i++) {
      const t = squashed[i]!;
      gradient[i]! += scale * (t - signs[i]!) * gamma * (1 - t * t);
    }
  };
}
