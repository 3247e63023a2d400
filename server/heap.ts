/**
 * Garbage is collected between rounds, so that a coordinator's memory is what it holds and not what V8 has not got
 * round to: with gigabytes to spare V8 lets garbage of hundreds of rounds lie, and what one sees from outside is a
 * process that grows with the rounds.
 */
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Garbage that may lie. A collection takes some 20 ms with the 25 MiB that a coordinator holds; fewer of them are not felt. */
const GARBAGE_BYTES = 32 * 2 ** 20;

/** @returns to be called between rounds; it collects where more than GARBAGE_BYTES came since the last time */
export function keepHeapSmall(): () => void {
  setFlagsFromString("--expose-gc");
  // The flag reaches contexts that are made after it.
  const collect: () => void = runInNewContext("gc");
  let left = 0;
  return () => {
    if (usedBytes() - left < GARBAGE_BYTES) return;
    collect();
    left = usedBytes();
  };
}

/** Objects and the buffers that they hold outside of V8's heap. */
function usedBytes(): number {
  const { used_heap_size, external_memory } = getHeapStatistics();
  return used_heap_size + external_memory;
}
