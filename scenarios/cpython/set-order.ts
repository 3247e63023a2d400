/**
 * The order in which CPython lists `set(range(n)) - set(removed)`: a set of small integers is a hash table
 * whose slots are read from the first, and only a table much larger than its contents lists them ascending.
 *
 * Source: Objects/setobject.c of CPython 3.10 (set_difference, set_add_entry, set_table_resize)
 */

/** Slots probed one after another before the hash is stirred again. */
const LINEAR_PROBES = 9;

/** @param removed different numbers in [0, n) */
export function setDifferenceOrder(n: number, removed: readonly number[]): number[] {
  const gone = new Set(removed);
  const left = Array.from({ length: n }, (_, i) => i).filter((i) => !gone.has(i));
  // A set that loses few members is copied, table and all, and the members discarded: ascending order stays.
  if (Math.floor(n / 4) > gone.size) return left;
  return orderInTable(left);
}

/** Inserts the numbers one by one into a fresh table and reads the slots. */
function orderInTable(numbers: readonly number[]): number[] {
  let slots: (number | undefined)[] = new Array(8).fill(undefined);
  let filled = 0;
  for (const number of numbers) {
    insert(slots, number);
    filled++;
    if (5 * filled >= 3 * (slots.length - 1)) {
      let size = 8;
      while (size <= 4 * filled) size *= 2;
      const old = slots;
      slots = new Array(size).fill(undefined);
      for (const member of old) if (member !== undefined) insert(slots, member);
    }
  }
  return slots.filter((member) => member !== undefined);
}

function insert(slots: (number | undefined)[], number: number): void {
  const mask = slots.length - 1;
  let perturb = number;
  let at = number & mask;
  for (;;) {
    const last = at + LINEAR_PROBES <= mask ? at + LINEAR_PROBES : at;
    for (let probe = at; probe <= last; probe++) {
      if (slots[probe] === undefined) {
        slots[probe] = number;
        return;
      }
    }
    perturb >>>= 5;
    at = (at * 5 + 1 + perturb) & mask;
  }
}
