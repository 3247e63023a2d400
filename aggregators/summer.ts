/** Weighted sums of a part of the clients' tensors, in float64. */
import { instantiate, PART, STRIDE } from "./kernels.ts";

/** Clients whose parts lie in memory at once: the sum is read and written once for four of them. */
const SLOTS = 4;

export interface Summer {
  /** Float64 of the part at hand. */
  readonly sum: Float64Array;
  /** Begins a part of so many elements. */
  begin(length: number): void;
  /** sum += share · x, x being what `fill` writes into the array it is given. */
  add(share: number, fill: (target: Float32Array) => void): void;
  /** The sum rounded once to float32; the array is used again. */
  rounded(): Float32Array;
  /** Takes in what `add` still holds back; before `sum` is read. */
  finish(): void;
}

/** Adds one after the other, in the order of the calls: equal inputs give equal bits. @param part most elements of a part */
export function createSummer(part = PART): Summer {
  const slots = part * 8;
  const out = slots + SLOTS * part * 4;
  const kernels = instantiate(out + part * 4);
  const { buffer } = kernels.memory;
  const sum = new Float64Array(buffer, 0, part);
  const viewsOf = (length: number) => ({
    length,
    slots: Array.from({ length: SLOTS }, (_, at) => new Float32Array(buffer, slots + at * part * 4, length)),
    bytes: Math.ceil(length / STRIDE) * STRIDE * 4,
    out: new Float32Array(buffer, out, length),
  });
  const whole = viewsOf(part);
  let at = whole;
  const shares: number[] = [];
  const finish = (): void => {
    const [a, b, c, d] = shares;
    if (d !== undefined) kernels.addFour(0, slots, slots + at.bytes, part * 4, a!, b!, c!, d);
    else
      for (const [slot, share] of shares.entries()) {
        const x = slots + slot * part * 4;
        kernels.add(0, x, x + at.bytes, share);
      }
    shares.length = 0;
  };
  return {
    sum,
    begin(length) {
      at = length === part ? whole : viewsOf(length);
      sum.fill(0);
      // What the loops read beyond the length must add nothing, not even a NaN of another part's.
      if (length < part) for (const slot of whole.slots) slot.fill(0, length);
      shares.length = 0;
    },
    add(share, fill) {
      fill(at.slots[shares.length]!);
      if (shares.push(share) === SLOTS) finish();
    },
    finish,
    rounded() {
      finish();
      kernels.round(0, at.bytes * 2, out);
      return at.out;
    },
  };
}
