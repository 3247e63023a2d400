/** `fedloom client`: a node that trains on its own data and sends adapters, never examples. */
import { Option } from "commander";
import { type Clock, systemClock } from "../base/clock.ts";
import { FedloomError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { dataKeyIn } from "../client/data-key.ts";
import { modalitiesOf, type Shard } from "../client/inventory.ts";
import { openState } from "../client/state.ts";
import { fingerprintOf } from "../data/fingerprint.ts";
import { parseAddress } from "./address.ts";
import { type Cli, type CommonOptions, wholeNumber } from "./cli.ts";
import { serve } from "./client/serve.ts";
import { requireDevice } from "./doctor/provider.ts";
import { identityOf } from "./identity.ts";
import { type LogFormat, logOption, openLog } from "./logging.ts";
import { openShard, type Part } from "./shard.ts";
import { onEnding } from "./signals.ts";
import { DEVICES, type Device, FAST_HELP, openTrainer, TRAINERS, type TrainerName } from "./trainers.ts";

interface ClientOptions extends CommonOptions {
  readonly join: string;
  readonly data: string;
  readonly shard?: string;
  readonly client?: number;
  readonly state: string;
  readonly model: string;
  readonly name?: string;
  readonly trainer: TrainerName;
  readonly device: Device;
  readonly threads?: number;
  readonly fast?: true;
  readonly command?: string;
  readonly token?: string;
  readonly shareLogLines: number;
  readonly log: LogFormat;
}

export function registerClient(cli: Cli): void {
  cli
    .command("client", "Join a coordinator and train on this machine's data. Examples never leave it.")
    .requiredOption("--join <host:port>", "address of the coordinator", parseAddress)
    .requiredOption("--data <dir>", "dataset to train on; its held-out part is for evaluation")
    .option("--shard <file>", "train on a part of --data: a partition.json, with --client")
    .option("--client <n>", "which client of --shard this one is", wholeNumber(0))
    .requiredOption("--model <dir>", "the base model, the same as the coordinator's")
    .requiredOption("--state <dir>", "where unfinished work is kept; one directory a client")
    .option("--name <id>", "this site's name; a fresh one is made and kept in --state where it is absent")
    .addOption(
      new Option("--trainer <name>", "training engine; tfjs wants a package (docs/training.md)")
        .choices(TRAINERS)
        .default("onnx"),
    )
    .addOption(new Option("--device <name>", "what to train on").choices(DEVICES).default("cpu"))
    .option("--threads <n>", "threads to compute with; all cores where absent", wholeNumber(1))
    .option("--fast", FAST_HELP)
    .option("--command <line>", "program that trains, with --trainer command (docs/command-trainer.md)")
    .option("--token <token>", "join token of a coordinator with TLS, the first time; see fedloom enroll")
    .option(
      "--share-log-lines <n>",
      "with the report of a failure, send the last n lines of this log to the coordinator",
      wholeNumber(0),
      0,
    )
    .addOption(logOption())
    .action(async (options: ClientOptions) => {
      cli.exitCode = await runClient(options);
    });
}

async function runClient(options: ClientOptions, clock: Clock = systemClock) {
  const ending = onEnding();
  const { signal } = ending;
  const log = openLog(options);
  const { join: address, token, name, device, shareLogLines } = options;
  const shard = await openShard(options.data, partOf(options));
  const identify = () => identityOf(options.state, { address, token, name, log, signal, clock });
  const identity = await identify();
  const state = openState(options.state, name ?? identity?.name);
  try {
    if (options.trainer === "onnx") await requireDevice(device);
    const key = dataKeyIn(options.state);
    const dataFingerprint = await fingerprintData(shard, key, { log, signal, clock });
    if (dataFingerprint === undefined) return ending.exitCode();
    const trainer = await openTrainer(options.trainer, {
      ...options,
      mode: options.fast === true ? "fast" : "lean",
      note: (text) => log.info(text),
    });
    try {
      log.info(`Client "${state.clientId}" joins ${address}${identity === undefined ? " without TLS" : ""}`, {
        examples: held(shard),
        heldOut: shard.heldOut.length,
      });
      const node = { shard, dataFingerprint, state, trainer, device, shareLogLines, log, clock, signal };
      await serve({ ...node, address, identity, identify });
      log.info("Ended; started again with the same --state, it goes on where it was");
      return ending.exitCode();
    } finally {
      await trainer.close();
    }
  } finally {
    state.close();
    ending.release();
  }
}

/** A shard of many large files takes its time to read: who waits is told. */
const TELL_MS = 10_000;

/** @returns undefined where it was told to end meanwhile */
async function fingerprintData(
  { train }: Shard,
  key: Uint8Array,
  { log, signal, clock }: { readonly log: Log; readonly signal: AbortSignal; readonly clock: Clock },
): Promise<string | undefined> {
  let toldMs = clock.monotonic();
  const onProgress = (done: number): void => {
    if (clock.monotonic() - toldMs < TELL_MS) return;
    toldMs = clock.monotonic();
    log.info("Reads the data once, for its fingerprint", { examples: done, of: train.length });
  };
  try {
    return await fingerprintOf(train, { key, signal, onProgress });
  } catch (error) {
    if (signal.aborted) return undefined;
    throw error;
  }
}

/** @throws FedloomError F1003 where only one of --shard and --client is given */
function partOf({ shard, client }: ClientOptions): Part | undefined {
  if (shard !== undefined && client !== undefined) return { file: shard, client };
  if (shard === undefined && client === undefined) return undefined;
  throw new FedloomError("F1003", "Cannot take a part of the data: --shard and --client go together", {});
}

/** "48 image, 96 image+text". */
function held({ train }: Shard): string {
  const counts = new Map<string, number>();
  for (const example of train)
    counts.set(modalitiesOf(example), (counts.get(modalitiesOf(example)) ?? 0) + 1);
  return [...counts].map(([modalities, count]) => `${count} ${modalities}`).join(", ");
}
