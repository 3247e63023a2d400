/**
 * Garbage is collected between rounds, so that a coordinator's memory is what it holds and not what V8 has not got
 * round to: with gigabytes to spare V8 lets garbage of hundreds of rounds lie, and what one sees from outside is a
 * process that grows with the rounds.
 */
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Garbage that may lie. A collection takes some 20 ms with the 25 MiB that a coordinator holds; fewer of them are not felt. */
const GARBAGE_BYTES = 32 * 2 ** 20;

/**
 * The same in a process that holds a whole fleet: its clients make tensors all the time, and a collection goes through
 * all that lives, which is more.
 */
const FLEET_GARBAGE_BYTES = 96 * 2 ** 20;

/** Of what lives, in garbage. */
const LEAST_PERCENT = 25;

/** @returns to be called between rounds; it collects where more than `garbageBytes` came since the last time */
export function keepHeapSmall(garbageBytes = GARBAGE_BYTES): () => void {
  setFlagsFromString("--expose-gc");
  // The flag reaches contexts that are made after it.
  const collect: () => void = runInNewContext("gc");
  let left = 0;
  return () => {
    if (usedBytes() - left < garbageBytes) return;
    collect();
    left = usedBytes();
  };
}

/**
 * As keepHeapSmall for a fleet, and within a round too: V8 of its own accord collects for every 45 MiB of tensors, a fifth
 * of the time of a round of clients that only echo.
 */
export function letGarbageLie(): () => void {
  const collect = keepHeapSmall(FLEET_GARBAGE_BYTES);
  const betweenRounds = (): void => {
    collect();
    const percent = Math.floor((100 * FLEET_GARBAGE_BYTES) / usedBytes());
    // Where much lives, V8's own rule (0) lets as much lie.
    setFlagsFromString(`--heap-growing-percent=${percent < LEAST_PERCENT ? 0 : percent}`);
  };
  betweenRounds();
  return betweenRounds;
}

/** Objects and the buffers that they hold outside of V8's heap. */
function usedBytes(): number {
  const { used_heap_size, external_memory } = getHeapStatistics();
  return used_heap_size + external_memory;
}
