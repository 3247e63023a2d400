/** Memory of a process and all that it started, as Linux counts it: what two of them share counts once. */
import { readdirSync, readFileSync } from "node:fs";

/** Proportional set size in MiB, summed; 0 where nothing can be read. */
export function treeMib(root: number): number {
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    const parent = Number.isInteger(pid) ? parentOf(pid) : undefined;
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  let kib = 0;
  const waiting = [root];
  for (let pid = waiting.pop(); pid !== undefined; pid = waiting.pop()) {
    kib += pssKib(pid);
    waiting.push(...(children.get(pid) ?? []));
  }
  return kib / 1024;
}

function parentOf(pid: number): number | undefined {
  // "pid (name) state parent ...": a name may hold anything but the last parenthesis.
  const stat = contentOf(`/proc/${pid}/stat`);
  const parent = stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[1];
  return parent === undefined ? undefined : Number(parent);
}

function pssKib(pid: number): number {
  return Number(/^Pss:\s+(\d+) kB/m.exec(contentOf(`/proc/${pid}/smaps_rollup`) ?? "")?.[1] ?? 0);
}

/** A process may end between two looks at it. */
function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
