/** Replays the recorded generator programs: [function, arguments, result]. */
import { PythonRandom } from "../../scenarios/cpython/random.ts";
import type { PythonSeed } from "../../scenarios/cpython/seed.ts";
import { RandomState } from "../../scenarios/numpy/random-state.ts";

export type Program = readonly (readonly [name: string, args: readonly unknown[], result: unknown])[];

export interface RecordedSeed {
  readonly seed: { kind: string; text: string } | number | number[];
  readonly programs: readonly Program[];
  readonly long: Readonly<Record<string, { count: number; last: number[] } & Record<string, unknown>>>;
}

/** Recorded calls without logarithm, exponential, power or sine are equal to the last bit. */
export const EXACT = new Set(["random", "random_sample", "uniform"]);

export function pythonSeed(seed: { kind: string; text: string }): PythonSeed {
  switch (seed.kind) {
    case "int":
      return BigInt(seed.text);
    case "str":
      return seed.text;
    case "bytes":
      return Buffer.from(seed.text, "hex");
    case "float":
      // An integral float hashes to that integer, which is what a JavaScript number is taken for.
      return Number(seed.text);
    default:
      throw new Error(`A recorded seed of unknown kind ${seed.kind}`);
  }
}

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** Integers past 2^53 stand as {"int": "..."}. */
const integer = (value: bigint): unknown =>
  value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : { int: String(value) };

export function callPython(random: PythonRandom, name: string, args: readonly unknown[]): unknown {
  const n = args as number[];
  const list = args[0] as string[];
  switch (name) {
    case "random":
      return random.random();
    case "getrandbits":
      return integer(random.getrandbits(n[0]!));
    case "randrange":
      return n.length === 1 ? random.randrange(0, n[0]!) : random.randrange(n[0]!, n[1]!, n[2]);
    case "randint":
      return random.randint(n[0]!, n[1]!);
    case "sampleRange":
      return random.sample(range(n[0]!), n[1]!);
    case "sampleList":
      return random.sample(list, n[1]!);
    case "shuffleRange":
    case "shuffleList": {
      const items: unknown[] = name === "shuffleRange" ? range(n[0]!) : [...list];
      random.shuffle(items);
      return items;
    }
    case "choice":
      return random.choice(list);
    case "choices":
      return random.choices(list, n[2]!, (args[1] as number[] | null) ?? undefined);
    case "gauss":
    case "normalvariate":
    case "lognormvariate":
    case "uniform":
    case "betavariate":
    case "gammavariate":
      return random[name](n[0]!, n[1]!);
    case "expovariate":
      return random.expovariate(n[0]!);
    case "triangular":
      return random.triangular(n[0]!, n[1]!, n[2]!);
    default:
      throw new Error(`A recorded call of unknown function ${name}`);
  }
}

/** numpy's size argument: nothing, a length or a shape. */
function filled(size: unknown, draw: () => unknown): unknown {
  if (size === undefined || size === null) return draw();
  const [first, ...rest] = typeof size === "number" ? [size] : (size as number[]);
  return Array.from({ length: first! }, () => (rest.length === 0 ? draw() : filled(rest, draw)));
}

export function callNumpy(state: RandomState, name: string, args: readonly unknown[]): unknown {
  const n = args as number[];
  const list = args[0] as unknown[];
  switch (name) {
    case "raw32":
      return filled(n[0], () => state.uint32());
    case "random_sample":
      return filled(n[0], () => state.double());
    case "standard_normal":
      return filled(n[0], () => state.standardNormal());
    case "normal":
      return filled(n[2], () => state.normal(n[0]!, n[1]!));
    case "uniform":
      return filled(n[2], () => state.uniform(n[0]!, n[1]!));
    case "standard_exponential":
      return filled(n[0], () => state.standardExponential());
    case "exponential":
      return filled(n[1], () => state.exponential(n[0]!));
    case "standard_gamma":
      return filled(n[1], () => state.standardGamma(n[0]!));
    case "gamma":
      return filled(n[2], () => state.gamma(n[0]!, n[1]!));
    case "chisquare":
      return filled(n[1], () => state.chisquare(n[0]!));
    case "beta":
      return filled(n[2], () => state.beta(n[0]!, n[1]!));
    case "dirichlet":
      return filled(n[1], () => state.dirichlet(args[0] as number[]));
    case "binomial":
      return filled(n[2], () => state.binomial(n[0]!, n[1]!));
    case "poisson":
      return filled(n[1], () => state.poisson(n[0]!));
    case "multinomial":
      return filled(n[2], () => state.multinomial(n[0]!, args[1] as number[]));
    case "randint":
      return filled(n[2], () => state.randint(n[0]!, n[1]!));
    case "permutation": {
      const names = Array.isArray(args[0]) ? list : undefined;
      const order = state.permutation(names?.length ?? n[0]!);
      return names === undefined ? order : order.map((i) => names[i]);
    }
    case "shuffleRange": {
      const items = range(n[0]!);
      state.shuffle(items);
      return items;
    }
    case "shuffleRows": {
      const rows = range(n[0]!).map((i) => [2 * i, 2 * i + 1]);
      state.shuffle(rows);
      return rows;
    }
    case "choice": {
      const names = Array.isArray(args[0]) ? (args[0] as string[]) : undefined;
      const chosen = state.choice(names?.length ?? n[0]!, n[1]!, { replace: args[2] === true });
      return names === undefined ? chosen : chosen.map((i) => names[i]);
    }
    case "choiceP":
      return state.weightedChoice(args[3] as number[], n[1]!, { replace: args[2] === true });
    default:
      throw new Error(`A recorded call of unknown function ${name}`);
  }
}
