/** `fedloom aggregate`: one aggregation on files, with the strategies, checks and state of a run. */
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Adapter } from "../adapters/adapter.ts";
import { replaceFile } from "../adapters/durable-file.ts";
import { MODEL_FILE, writePeft } from "../adapters/peft.ts";
import { writeSafetensors } from "../adapters/safetensors.ts";
import { type BuiltStrategy, buildStrategy } from "../aggregators/build.ts";
import { checkNeeds } from "../aggregators/needs.ts";
import type { Spec } from "../aggregators/options.ts";
import { aggregateRound } from "../aggregators/round.ts";
import { decodeState, encodeState } from "../aggregators/state-file.ts";
import type { AggregateResult, StrategyState } from "../aggregators/strategy.ts";
import { admit } from "../aggregators/update-check.ts";
import { openUpdates } from "../aggregators/updates.ts";
import { FedloomError, messageOf } from "../base/errors.ts";
import { canonicalJson } from "../base/hash.ts";
import { clientNames, readGlobal, readUpdate } from "./aggregate/inputs.ts";
import { type Cli, type CommonOptions, collect, wholeNumber } from "./cli.ts";
import type { Output } from "./output.ts";

interface AggregateOptions extends CommonOptions {
  readonly strategy: string;
  readonly config?: string;
  readonly wrappers?: string;
  readonly global: string;
  readonly update: readonly string[];
  readonly state?: string;
  readonly seed: number;
  readonly totalClients?: number;
  readonly out: string;
}

const ROUND_FILE = "round.json";

export function registerAggregate(cli: Cli): void {
  cli
    .command("aggregate", "Aggregate updates that lie in files, once, and write the new global adapter.")
    .requiredOption("--strategy <name>", "one of docs/strategies.md")
    .option("--config <json>", 'its options, such as {"preset":"flower","tau":0.01}')
    .option("--wrappers <json>", 'a list of wrappers, such as [{"name":"clip","norm":1}]')
    .requiredOption(
      "--global <file>",
      "the adapter that was handed out: a PEFT directory or a safetensors file",
    )
    .requiredOption(
      "--update <file[:examples]>",
      "a client's adapter and the examples it trained on (1); once for each client; steps, tokens and metrics may follow: FILE:120,steps=30,loss=1.7",
      collect,
    )
    .option("--state <dir>", "where the strategy's state is kept from one call to the next")
    .option("--seed <n>", "what chance is drawn from", wholeNumber(0), 0)
    .option(
      "--total-clients <n>",
      "clients that the round's were drawn from; as many as updates where absent",
      wholeNumber(1),
    )
    .requiredOption("--out <dir>", "a directory for the new adapter; files in it are replaced")
    .action((options: AggregateOptions) => aggregate(options, cli.output(options)));
}

async function aggregate(options: AggregateOptions, output: Output): Promise<void> {
  const built = buildStrategy(
    { ...jsonOption<object>("--config", options.config, {}), name: options.strategy },
    jsonOption<Spec[]>("--wrappers", options.wrappers, []),
  );
  const { global, isPeft } = readGlobal(options.global);
  const before = readState(options.state, built, global);
  const round = before.round + 1;
  const plan = built.strategy.plan?.(before.state, { round, client: "", global }) ?? {};
  const parts = options.update.map((argument) => readUpdate(argument, global, plan.extras ?? []));
  checkNeeds(built.name, built.needs, {
    asynchronous: parts.some(({ info: { staleness = 0 } }) => staleness > 0),
  });
  const names = clientNames(parts.map(({ model }) => model));
  const files = parts.map((part, k) => ({ ...part, info: { ...part.info, client: names[k]! } }));
  const opened = openUpdates(files);
  const { admitted, refused } = admit(
    { global, needs: built.needs, travels: plan.travels, extras: plan.extras },
    opened.entries,
  );
  opened.close();
  for (const { error } of refused) output.note(`${error.message} (${error.code})`);
  const usable = new Set(admitted.map(({ info }) => info.client));
  const result = await aggregateRound({
    built,
    state: before.state,
    round,
    global,
    seed: options.seed,
    totalClients: options.totalClients ?? files.length,
    updates: files.filter(({ info }) => usable.has(info.client)),
  });
  writeResult(options.out, result, isPeft);
  if (options.state !== undefined) writeState(options.state, built, round, result.state);
  output.result(
    "aggregate/1",
    {
      strategy: built.resolved.strategy,
      wrappers: built.resolved.wrappers,
      round,
      updates: [...usable].sort(),
      refused: refused.map(({ client, error }) => ({ client, code: error.code, message: error.message })),
      report: result.report,
      directory: options.out,
    },
    [
      `Aggregated ${usable.size} of ${files.length} updates with ${built.name}, round ${round}`,
      ...Object.entries(result.report)
        .filter(([key]) => ["drift", "signConflict", "productError"].includes(key))
        .map(([key, value]) => `  ${key} ${value.toPrecision(4)}`),
      `Wrote ${options.out}`,
    ],
  );
}

function jsonOption<T>(option: string, text: string | undefined, absent: T): T {
  if (text === undefined) return absent;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && Array.isArray(value) === Array.isArray(absent)) {
      return value as T; // the registry checks what is inside
    }
  } catch (cause) {
    throw new FedloomError("F1003", `Cannot read ${option}: ${messageOf(cause)}`, { option }, { cause });
  }
  throw new FedloomError(
    "F1003",
    `Cannot read ${option}: a JSON ${Array.isArray(absent) ? "list" : "object"} is wanted, got ${text}`,
    { option },
  );
}

/** @throws FedloomError F3113 where the state was left by another strategy or other settings */
function readState(
  directory: string | undefined,
  built: BuiltStrategy,
  global: Adapter,
): { readonly round: number; readonly state: StrategyState } {
  if (directory === undefined || !existsSync(join(directory, ROUND_FILE))) {
    return { round: 0, state: built.strategy.init(global) };
  }
  const { round, ...left } = JSON.parse(readFileSync(join(directory, ROUND_FILE), "utf8")) as {
    readonly round: number;
    readonly strategy: Spec;
    readonly wrappers: readonly Spec[];
  };
  if (canonicalJson({ strategy: left.strategy, wrappers: left.wrappers }) !== canonicalJson(built.resolved)) {
    throw new FedloomError(
      "F3113",
      `Cannot go on from the state in "${directory}": it was left by strategy "${left.strategy.name}" with ${canonicalJson(left.strategy)}; use those settings or another directory`,
      { directory },
    );
  }
  const path = join(directory, stateFile(round));
  return { round, state: decodeState(readFileSync(path), path) };
}

function writeState(
  directory: string,
  { resolved }: BuiltStrategy,
  round: number,
  state: StrategyState,
): void {
  mkdirSync(directory, { recursive: true });
  // The round's file names the state's: whichever of the two a crash leaves, they belong together.
  replaceFile(join(directory, stateFile(round)), (write) => write(encodeState(state)));
  replaceFile(join(directory, ROUND_FILE), (write) =>
    write(Buffer.from(`${JSON.stringify({ version: 1, round, ...resolved }, null, 2)}\n`)),
  );
  rmSync(join(directory, stateFile(round - 1)), { force: true });
}

function stateFile(round: number): string {
  return `state-${round}.safetensors`;
}

/** A PEFT directory where the global adapter was one, else its safetensors file alone; side factors beside it. */
function writeResult(directory: string, { global, baseDelta }: AggregateResult, isPeft: boolean): void {
  if (isPeft) writePeft(directory, global);
  else {
    mkdirSync(directory, { recursive: true });
    replaceFile(join(directory, MODEL_FILE), (write) => write(writeSafetensors(global.tensors)));
  }
  if (baseDelta !== undefined) writePeft(join(directory, "base_delta"), baseDelta);
}
