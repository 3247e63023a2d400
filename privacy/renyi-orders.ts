/**
 * Orders at which Rényi divergences are followed, and what they say about ε and δ.
 *
 * A run's divergences add up order by order; at the end the best order is taken. Where that is the first or the last
 * of the list, a longer list would give a smaller ε.
 */

export const ORDERS: readonly number[] = [
  ...Array.from({ length: 99 }, (_, i) => (11 + i) / 10), // 1.1, 1.2, … 10.9
  ...Array.from({ length: 53 }, (_, i) => 11 + i),
  128,
  256,
  512,
  1024,
];

export interface BestOrder {
  readonly epsilon: number;
  readonly order: number;
}

/**
 * ε for δ from divergences at ORDERS, and the order that gave it.
 *
 * Source: Canonne, Kamath and Steinke 2020, Proposition 12, https://arxiv.org/abs/2004.00010
 */
export function epsilonOf(divergences: readonly number[], delta: number): BestOrder {
  let best: BestOrder = { epsilon: Number.POSITIVE_INFINITY, order: ORDERS[0]! };
  for (const [i, order] of ORDERS.entries()) {
    const divergence = divergences[i]!;
    // Total variation is at most sqrt(1 - e^-divergence): a divergence this small already is (0, δ).
    const none = delta ** 2 + Math.expm1(-divergence) >= 0;
    const epsilon = none ? 0 : divergence + Math.log1p(-1 / order) - Math.log(delta * order) / (order - 1);
    if (epsilon < best.epsilon) best = { epsilon: Math.max(0, epsilon), order };
  }
  return best;
}
