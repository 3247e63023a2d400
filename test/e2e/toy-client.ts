/**
 * A client process with the toy trainer: all of the client but the model. Its one argument is JSON.
 * It ends with the test that started it.
 */
import { systemClock } from "../../base/clock.ts";
import { FedloomError } from "../../base/errors.ts";
import { createLog } from "../../base/log.ts";
import { createRng } from "../../base/rng.ts";
import { channelCredentials, INSECURE } from "../../client/credentials.ts";
import { runNode } from "../../client/node.ts";
import { holdConnectionInThread } from "../../client/standing-thread.ts";
import { openState } from "../../client/state.ts";
import { connectFleet } from "../../proto/service.ts";
import { createToyTrainer, toyExamples } from "../toy-trainer.ts";

export interface ToyClientOptions {
  readonly join: string;
  readonly name: string;
  readonly state: string;
  readonly examples?: number;
  readonly steps?: number;
  readonly ledger?: string;
  readonly baseHash?: string;
  /** Blocks the thread for so long before the first step, as a native computation does. */
  readonly blockMs?: number;
  /** Prints "holding" before the second step of this training (from 1) and waits for a message from the parent. */
  readonly holdIn?: number;
  /** A dead connection is noticed after about twice so long; the product's 20 s are too long for a test. */
  readonly keepaliveMs?: number;
}

const options: ToyClientOptions = JSON.parse(process.argv[2]!);
const ending = new AbortController();
const orphaned = (): void => process.exit(1);
process.on("disconnect", orphaned);
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => ending.abort());

const log = createLog({ level: "debug", format: "pretty", write: (line) => console.log(line) });
const trainer = createToyTrainer({
  ...options,
  async beforeStep(step, signal, training) {
    if (step === 1 && options.blockMs !== undefined) {
      console.log("blocking");
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, options.blockMs);
      console.log("blocked");
    }
    if (step === 2 && training === options.holdIn) {
      console.log("holding");
      await new Promise((resolve) => {
        process.once("message", resolve);
        signal?.addEventListener("abort", resolve, { once: true });
      });
    }
  },
});

try {
  const state = openState(options.state, options.name);
  const channel =
    options.keepaliveMs === undefined
      ? {}
      : {
          "grpc.keepalive_time_ms": options.keepaliveMs,
          "grpc.keepalive_timeout_ms": options.keepaliveMs,
        };
  const fleet = connectFleet(options.join, channelCredentials(INSECURE), channel);
  await runNode({
    fleet,
    open: (hello, events) =>
      holdConnectionInThread(options.join, INSECURE, hello, events, options.name, channel),
    trainer,
    device: "cpu",
    shard: {
      train: toyExamples(options.name, options.examples ?? 4),
      heldOut: toyExamples(`${options.name}-held`, 2),
    },
    state,
    clock: systemClock,
    rng: createRng(options.name),
    log,
    signal: ending.signal,
  });
  fleet.close();
  state.close();
  console.log("ended cleanly");
} catch (error) {
  console.log(error instanceof FedloomError ? `ended with ${error.code}: ${error.message}` : error);
  process.exitCode = 1;
}
process.off("disconnect", orphaned);
process.disconnect?.();
