/**
 * A round's global adapter where all threads see it: as a message it would be copied for each, and copied again there.
 * The memory is used again round after round, since fresh pages cost more than the copy; what a thread hands back must
 * therefore not lie in it (`apart`).
 */
import { ARRAY_OF, type Tensor, type TensorData, type TensorSet } from "../adapters/tensor.ts";

export interface Laid {
  readonly tensors: TensorSet;
  /** Nobody reads it any more. */
  release(): void;
}

export function createBoard(): { lay(tensors: TensorSet): Laid } {
  let free: SharedArrayBuffer | undefined;
  return {
    lay(tensors) {
      const bytes = [...tensors.values()].reduce((sum, value) => sum + alignedBytes(value), 0);
      const buffer = free !== undefined && free.byteLength >= bytes ? free : new SharedArrayBuffer(bytes);
      free = undefined;
      let at = 0;
      const laid = [...tensors].map(([name, { dtype, shape, data }]) => {
        // As their constructors say no array type takes shared memory; all of them do.
        const copy: TensorData = new ARRAY_OF[dtype](buffer as unknown as ArrayBuffer, at, data.length);
        new Uint8Array(buffer, at, data.byteLength).set(
          new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
        );
        at += alignedBytes({ data });
        return [name, { dtype, shape, data: copy }] as const;
      });
      const release = (): void => {
        free = buffer;
      };
      return { tensors: new Map(laid), release };
    },
  };
}

/** The set with copies of the tensors that lie in the memory of `laid`. */
export function apart(set: TensorSet, laid: TensorSet): TensorSet {
  const [first] = laid.values();
  const lies = ({ data }: Tensor): boolean => data.buffer === first?.data.buffer;
  if (![...set.values()].some(lies)) return set;
  return new Map(
    [...set].map(([name, value]) => [name, lies(value) ? { ...value, data: value.data.slice() } : value]),
  );
}

/** Room that leaves the next tensor aligned for every element type. */
function alignedBytes({ data }: Pick<Tensor, "data">): number {
  return Math.ceil(data.byteLength / 8) * 8;
}
