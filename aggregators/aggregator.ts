/**
 * Rounds in worker threads: the caller's thread stays free, and a rule that looks at one tensor or module at a time
 * (`needs.separable`) runs on several at once. The split does not show: each part's result depends on nothing else,
 * so the bits are those of one thread.
 */
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import type { Adapter } from "../adapters/adapter.ts";
import { byteLength, type TensorSet, tensorSet } from "../adapters/tensor.ts";
import { factorPairs } from "../adapters/tensor-names.ts";
import { FedloomError, isCode } from "../base/errors.ts";
import { type Measured, reportOf } from "./diagnostics.ts";
import type { RoundInput } from "./round.ts";
import type { Answer, Share } from "./round-thread.ts";
import { createBoard } from "./shared-tensors.ts";
import type { AggregateResult, Needs, StrategyState } from "./strategy.ts";
import { inOrder } from "./updates.ts";

export interface Aggregator {
  /** As aggregateRound, elsewhere. @throws FedloomError as it does */
  aggregate(input: RoundInput): Promise<AggregateResult>;
  /** The same without what is measured of the whole, for rounds that are put together from several (pieces.ts). */
  aggregatePart(input: RoundInput): Promise<Part>;
  /** Ends the threads; rounds that are still running fail. */
  close(): Promise<void>;
}

export interface Part {
  readonly result: AggregateResult;
  /** Sums for `reportOf`; none where diagnostics are not wanted. */
  readonly measured: readonly Measured[];
}

type Done = Extract<Answer, { result: unknown }>;

interface Waiting {
  resolve(answer: Done): void;
  reject(error: Error): void;
}

/**
 * Of a thread's heap, for views and numbers that die at once; tensors lie outside of it. V8 would let it grow to 48 MiB
 * with the number of clients, and the round is no faster for it (docs/benchmarks.md, "Aggregation").
 */
const YOUNG_MB = 8;

/** @param threads worker threads to start, with the first round; they stay for the next ones */
export function openAggregator({ threads }: { readonly threads: number }): Aggregator {
  const waiting = new Map<number, Waiting>();
  const workers: Worker[] = [];
  const board = createBoard();
  let next = 0;

  const start = (): void => {
    while (workers.length < threads) {
      const file = new URL(`./round-thread${extname(import.meta.url)}`, import.meta.url);
      const worker = new Worker(file, { resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB } });
      worker.unref(); // an idle thread keeps no process alive; `ask` holds it while it works
      worker.on("message", (answer: Answer) => {
        const request = waiting.get(answer.id);
        waiting.delete(answer.id);
        if ("result" in answer) request?.resolve(answer);
        else request?.reject(errorOf(answer.error));
      });
      const lost = (cause?: unknown): void => {
        workers.splice(workers.indexOf(worker), 1);
        for (const [id, request] of waiting) {
          waiting.delete(id);
          request.reject(new Error("A thread that aggregates ended", { cause }));
        }
      };
      worker.once("error", lost);
      workers.push(worker);
    }
  };
  const ask = (worker: Worker, share: Omit<Share, "id">): Promise<Done> => {
    const id = next++;
    worker.ref();
    return new Promise<Done>((resolve, reject) => {
      waiting.set(id, { resolve, reject });
      worker.postMessage({ ...share, id } satisfies Share);
    }).finally(() => worker.unref());
  };

  const aggregatePart = async (input: RoundInput): Promise<Part> => {
    start();
    const { built, hashes = [], ...rest } = input;
    const checks = [...hashes];
    const parts = split(input.global, built.needs.separable, threads);
    const { strategy, wrappers } = built.resolved;
    const shared = board.lay(input.global.tensors);
    const asked = parts.map((names, i) =>
      ask(workers[i]!, {
        ...rest,
        hashes: checks.filter((_, k) => k % parts.length === i),
        diagnostics: rest.diagnostics !== false,
        strategy,
        wrappers,
        global: { config: input.global.config, tensors: only(shared.tensors, names) },
        state: onlyState(input.state, names),
      }),
    );
    void Promise.allSettled(asked).then(() => shared.release());
    const answers = await Promise.all(asked);
    const result = joined(
      input.global,
      answers.map((answer) => answer.result),
    );
    const measured = answers.flatMap((answer) => (answer.measured === undefined ? [] : [answer.measured]));
    return { result, measured };
  };

  return {
    aggregatePart,
    async aggregate(input) {
      const { result, measured } = await aggregatePart(input);
      if (measured.length === 0) return result;
      const infos = inOrder(input.updates.map(({ info }) => info));
      return { ...result, report: { ...reportOf(infos, measured), ...result.report } };
    },
    async close() {
      await Promise.all(workers.splice(0).map((worker) => worker.terminate()));
      for (const request of waiting.values()) request.reject(new Error("The aggregator was closed"));
      waiting.clear();
    },
  };
}

/** Names for each thread: parts that belong together stay together, the largest are dealt out first. */
export function split(
  global: Adapter,
  separable: Needs["separable"],
  threads: number,
): ReadonlySet<string>[] {
  const names = [...global.tensors.keys()];
  if (separable === "adapter" || threads < 2) return [new Set(names)];
  const pairs = factorPairs(names).map(({ a, b }) => [a, b]); // diagnostics look at modules, whatever the rule does
  const paired = new Set(pairs.flat());
  const parts = [...pairs, ...names.filter((name) => !paired.has(name)).map((name) => [name])];
  const bytes = (part: readonly string[]) =>
    part.reduce((sum, name) => sum + byteLength(global.tensors.get(name)!), 0);
  const bins = Array.from({ length: Math.min(threads, parts.length) }, () => ({
    bytes: 0,
    names: new Set<string>(),
  }));
  for (const part of parts.sort((a, b) => bytes(b) - bytes(a))) {
    const bin = bins.reduce((least, other) => (other.bytes < least.bytes ? other : least));
    bin.bytes += bytes(part);
    for (const name of part) bin.names.add(name);
  }
  return bins.map((bin) => bin.names);
}

function only(tensors: TensorSet, names: ReadonlySet<string>): TensorSet {
  return new Map([...tensors].filter(([name]) => names.has(name)));
}

/** Of each set the members of these names. */
export function onlyState({ scalars, tensors }: StrategyState, names: ReadonlySet<string>): StrategyState {
  return {
    scalars,
    tensors: Object.fromEntries(Object.entries(tensors).map(([set, members]) => [set, only(members, names)])),
  };
}

function joined(global: Adapter, results: readonly AggregateResult[]): AggregateResult {
  const [first] = results;
  if (first === undefined || results.length === 1) return first!;
  const kept = results.reduce((sum, { report }) => sum + (report.kept ?? 0), 0);
  return {
    global: {
      config: global.config,
      tensors: tensorSet(results.flatMap((result) => [...result.global.tensors])),
    },
    state: joinedState(results.map(({ state }) => state)),
    report: { ...first.report, kept },
  };
}

/** One state of those of parts, at least one. */
export function joinedState(states: readonly StrategyState[]): StrategyState {
  const sets = new Set(states.flatMap(({ tensors }) => Object.keys(tensors)));
  const joinedSet = (set: string) => tensorSet(states.flatMap(({ tensors }) => [...(tensors[set] ?? [])]));
  return {
    scalars: states[0]!.scalars,
    tensors: Object.fromEntries([...sets].map((set) => [set, joinedSet(set)])),
  };
}

function errorOf({ code, message, details }: Extract<Answer, { error: unknown }>["error"]): Error {
  return code !== undefined && isCode(code) ? new FedloomError(code, message, details) : new Error(message);
}
