/**
 * The two ends of large.test.ts: `receive DIR` is the coordinator's gRPC edge over its blobs, `send DIR ADDRESS
 * FILE SHA256 SIZE` is a client's transfer code, which pushes the file and fetches it back. Both tell their peak memory.
 */
import { mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { systemClock } from "../../base/clock.ts";
import { createRng } from "../../base/rng.ts";
import { openDiskBlobs } from "../../client/blobs.ts";
import { channelCredentials, INSECURE } from "../../client/credentials.ts";
import { createTransfer } from "../../client/transfer.ts";
import { bindWide, SERVER_OPTIONS } from "../../proto/channel.ts";
import type { Fleet } from "../../proto/fleet.ts";
import {
  FetchBlobResponseSchema,
  PushBlobResponseSchema,
  StatBlobResponseSchema,
} from "../../proto/gen/fedloom/v1/fleet_pb.ts";
import { addFleet, connectFleet } from "../../proto/service.ts";
import { openBlobFolder } from "../../server/blobs/folder.ts";

process.on("disconnect", () => process.exit(1));

/** Of this program alone: the maximum that getrusage tells includes the process that started it. */
function tellPeak(): void {
  const status = process.platform === "linux" ? readFileSync("/proc/self/status", "utf8") : "";
  const kib = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? process.resourceUsage().maxRSS);
  console.log(`peak ${kib * 1024}`);
}

async function receive(directory: string): Promise<void> {
  const blobs = await openBlobFolder(directory);
  const unused = (): never => {
    throw new TypeError("No such call is made here");
  };
  const fleet: Fleet = {
    connect: unused,
    submitResult: unused,
    reportFailure: unused,
    async *fetchBlob({ sha256, offset }) {
      let at = Number(offset);
      for await (const data of blobs.read(sha256, at)) {
        yield create(FetchBlobResponseSchema, { offset: BigInt(at), data });
        at += data.length;
      }
    },
    statBlob: async ({ clientId, sha256 }) =>
      create(StatBlobResponseSchema, {
        complete: (await blobs.size(sha256)) !== undefined,
        held: BigInt(await blobs.held(clientId, sha256)),
      }),
    async pushBlob(requests) {
      const messages = requests[Symbol.asyncIterator]();
      const { message } = (await messages.next()).value;
      const { clientId, blob, offset } = message.value;
      async function* chunks(): AsyncGenerator<Uint8Array> {
        for (;;) {
          const next = await messages.next();
          if (next.done === true) return;
          if (next.value.message.case === "chunk") yield next.value.message.value.data;
        }
      }
      const size = Number(blob.size);
      await blobs.receive(clientId, { sha256: blob.sha256, size }, Number(offset), chunks());
      return create(PushBlobResponseSchema, { size: blob.size });
    },
  };
  const server = new Server(SERVER_OPTIONS);
  const takeStream = addFleet(
    server,
    () => fleet,
    (error) => console.log(error),
  );
  const port = await bindWide(server, "127.0.0.1:0", ServerCredentials.createInsecure(), takeStream);
  process.on("message", tellPeak);
  console.log(`listening on 127.0.0.1:${port}`);
}

async function send(
  directory: string,
  address: string,
  file: string,
  sha256: string,
  size: number,
): Promise<void> {
  mkdirSync(directory, { recursive: true });
  const kept = join(directory, sha256);
  renameSync(file, kept);
  const fleet = connectFleet(address, channelCredentials(INSECURE));
  const transfer = createTransfer(fleet, openDiskBlobs(directory), "c1", {
    clock: systemClock,
    rng: createRng(1),
    onWait: ({ message }) => console.log(message),
  });
  const control = { signal: new AbortController().signal, idleMs: 60_000, onProgress: () => {} };
  await transfer.push({ sha256, size }, "task", control);
  rmSync(kept);
  await transfer.fetch({ sha256, size }, control);
  fleet.close();
  tellPeak();
}

const [mode, directory, ...rest] = process.argv.slice(2) as [string, string, ...string[]];
if (mode === "receive") await receive(directory);
else await send(directory, rest[0]!, rest[1]!, rest[2]!, Number(rest[3]));
