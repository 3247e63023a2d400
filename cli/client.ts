/** `fedloom client`: a node that trains on its own data and sends adapters, never examples. */
import { randomUUID } from "node:crypto";
import { Option } from "commander";
import { systemClock } from "../base/clock.ts";
import { FedloomError } from "../base/errors.ts";
import { errorFields, type Log } from "../base/log.ts";
import { createRng } from "../base/rng.ts";
import { type Credentials, channelCredentials, INSECURE } from "../client/credentials.ts";
import { modalitiesOf, type Shard } from "../client/inventory.ts";
import { runNode } from "../client/node.ts";
import { holdConnectionInThread } from "../client/standing-thread.ts";
import { type ClientState, openState } from "../client/state.ts";
import type { Identity } from "../proto/enroll.ts";
import { connectFleet } from "../proto/service.ts";
import type { Trainer } from "../training/trainer.ts";
import { parseAddress } from "./address.ts";
import { type Cli, type CommonOptions, wholeNumber } from "./cli.ts";
import { requireDevice } from "./doctor/provider.ts";
import { identityOf } from "./identity.ts";
import { type LogFormat, logOption, openLog } from "./logging.ts";
import { openShard, type Part } from "./shard.ts";
import { onEnding } from "./signals.ts";
import { DEVICES, type Device, openTrainer, TRAINERS, type TrainerName } from "./trainers.ts";

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

/** How often a running client looks whether its certificate is to be renewed: often enough for one of a day. */
const RENEWAL_LOOK_MS = 3_600_000;

async function runClient(options: ClientOptions) {
  const ending = onEnding();
  const log = openLog(options);
  const shard = await openShard(options.data, partOf(options));
  let identity = await identify(options, log, ending.signal);
  const state = openState(options.state, options.name ?? identity?.name);
  try {
    if (options.trainer === "onnx") await requireDevice(options.device);
    const trainer = await openTrainer(options.trainer, { ...options, note: (text) => log.info(text) });
    try {
      log.info(
        `Client "${state.clientId}" joins ${options.join}${identity === undefined ? " without TLS" : ""}`,
        { examples: held(shard), heldOut: shard.heldOut.length },
      );
      while (!ending.signal.aborted) {
        const signal = ending.signal;
        identity = await serveUntilRenewal({ options, identity, shard, state, trainer, log, signal });
      }
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

function identify({ state, join: address, token }: ClientOptions, log: Log, signal: AbortSignal) {
  return identityOf(state, { address, token, log, signal });
}

interface Service {
  readonly options: ClientOptions;
  readonly identity: Identity | undefined;
  readonly shard: Shard;
  readonly state: ClientState;
  readonly trainer: Trainer;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/**
 * Works for the coordinator until it is told to end, or until its certificate was renewed: a connection shows the one
 * that it was opened with. What is in work then begins anew, once in two months.
 *
 * @returns the identity to go on with
 */
async function serveUntilRenewal({
  options,
  identity,
  signal,
  ...rest
}: Service): Promise<Identity | undefined> {
  const { join: address, device, shareLogLines } = options;
  const credentials: Credentials = identity === undefined ? INSECURE : { kind: "tls", ...identity };
  const fleet = connectFleet(address, channelCredentials(credentials));
  // Not secret and not reproducible on purpose: it only spreads the reconnects of many clients over time.
  const seed = randomUUID();
  const renewal = new AbortController();
  let cancelLook = (): void => undefined;
  let current = identity;
  const look = async (): Promise<void> => {
    current = await identify(options, rest.log, signal);
    if (current?.certificate !== identity?.certificate) renewal.abort();
    else waitForLook();
  };
  const waitForLook = (): void => {
    cancelLook = systemClock.after(RENEWAL_LOOK_MS, () => {
      look().catch((error: unknown) => {
        rest.log.error("The certificate cannot be renewed", errorFields(error));
        waitForLook();
      });
    });
  };
  if (identity !== undefined) waitForLook();
  try {
    await runNode({
      ...rest,
      fleet,
      open: (hello, events) => holdConnectionInThread(address, credentials, hello, events, seed),
      device,
      clock: systemClock,
      rng: createRng(seed),
      shareLogLines,
      signal: AbortSignal.any([signal, renewal.signal]),
    });
    return current;
  } finally {
    cancelLook();
    fleet.close();
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
