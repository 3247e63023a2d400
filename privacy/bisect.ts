/** Where a condition that turns true once, and stays true, turns true. */

/** Half-steps after the bracket was found: more than a float64 has bits. */
const STEPS = 200;

/**
 * The smallest x above `from` for which `holds`, from the safe side: `holds` is true for the number returned.
 *
 * @throws RangeError if it is true for no number that float64 can hold
 */
export function bisect(holds: (x: number) => boolean, from: number, tolerance = 1e-13): number {
  let low = from;
  let high = Math.max(1, 2 * from);
  while (!holds(high)) {
    low = high;
    high *= 2;
    if (high === Number.POSITIVE_INFINITY) throw new RangeError("No number satisfies the condition");
  }
  for (let step = 0; step < STEPS && high - low > tolerance * high; step++) {
    const middle = (low + high) / 2;
    if (holds(middle)) high = middle;
    else low = middle;
  }
  return high;
}
