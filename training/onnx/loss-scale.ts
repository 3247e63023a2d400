/**
 * How much larger the gradients of a float16 graph are computed than they are: most would be below its smallest
 * normal number, 6e-5. Where that makes one of them overflow, the step is taken again with a smaller scale, which is
 * kept from then on.
 */
import { float32, type TensorSet } from "../../adapters/tensor.ts";
import { gradientName, NAMES } from "./compile.ts";
import type { Session } from "./runtime.ts";

const FIRST = 1024;
/** Below it nothing is left to gain: what overflows at a scale of 1 / 1024 is no matter of scale. */
const LEAST = 1 / 1024;
const BACK_OFF = 16;

export class LossScale {
  #value = FIRST;

  /** Runs a session, again while gradients overflow. A loss that is not finite itself is handed out as it is. */
  async run(session: Session, feeds: TensorSet): Promise<TensorSet> {
    const picked = session.inputs.map((name) => [name, feeds.get(name)!] as const);
    if (!session.inputs.includes(NAMES.lossScale)) return session.run(new Map(picked));
    for (;;) {
      const scale = float32([], Float32Array.of(this.#value));
      const results = await session.run(new Map([...picked, [NAMES.lossScale, scale]]));
      if (this.#value <= LEAST || !overflows(results)) return results;
      this.#value /= BACK_OFF;
    }
  }
}

const GRADIENT = gradientName("");

function overflows(results: TensorSet): boolean {
  const finite = (values: ArrayLike<number>): boolean => Array.prototype.every.call(values, Number.isFinite);
  const loss = results.get(NAMES.loss);
  if (loss !== undefined && !finite(loss.data as Float32Array)) return false;
  return [...results].some(([name, { data }]) => name.startsWith(GRADIENT) && !finite(data as Float32Array));
}
