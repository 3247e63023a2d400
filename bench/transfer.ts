/**
 * Payloads over gRPC: MiB/s up and down with the client's own transfer code, through a proxy on loopback without
 * delay and with 25 ms each way. The last column repeats the uploads
 * with the HTTP/2 windows that grpc-js servers have by default.
 */
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { credentials, Server, ServerCredentials } from "@grpc/grpc-js";
import { systemClock } from "../base/clock.ts";
import { createRng } from "../base/rng.ts";
import { openDiskBlobs } from "../client/blobs.ts";
import { createTransfer } from "../client/transfer.ts";
import { bindWide, CHUNK_BYTES, SERVER_OPTIONS } from "../proto/channel.ts";
import type { Fleet } from "../proto/fleet.ts";
import {
  FetchBlobResponseSchema,
  PushBlobResponseSchema,
  StatBlobResponseSchema,
} from "../proto/gen/fedloom/v1/fleet_pb.ts";
import { addFleet, connectFleet } from "../proto/service.ts";
import { startProxy } from "../test/proxy.ts";
import type { Bench, Table } from "./report.ts";

const ONE_WAY_DELAYS_MS = [0, 25];
const DEFAULT_MIB = 64;

export const bench: Bench = {
  title: "Transfer of payloads",
  usage: [`--mib N   size of the payload (default ${DEFAULT_MIB})`],
  async run(args, log) {
    const at = args.indexOf("--mib");
    const sizeBytes = (at < 0 ? DEFAULT_MIB : Number(args[at + 1])) * 2 ** 20;
    const payload = randomBytes(sizeBytes);
    const rows: (string | number)[][] = [];
    for (const delayMs of ONE_WAY_DELAYS_MS) {
      const wide = await measure(payload, delayMs, true, log);
      // 64 KiB windows over distance take minutes for the whole payload; a part of it has the same rate.
      const part = delayMs === 0 ? payload : payload.subarray(0, 4 * 2 ** 20);
      const narrow = await measure(part, delayMs, false, log);
      rows.push([
        `${2 * delayMs} ms`,
        wide.down,
        wide.up,
        narrow.up,
        `${(wide.up / narrow.up).toFixed(1)} x`,
      ]);
    }
    const table: Table = {
      columns: ["round trip", "down MiB/s", "up MiB/s", "up MiB/s, default windows", "gain of wide windows"],
      rows,
    };
    return {
      text: `One payload of ${sizeBytes / 2 ** 20} MiB in chunks of ${CHUNK_BYTES / 2 ** 20} MiB, both ends in one process on loopback through the proxy of \`test/proxy.ts\`. The client writes what it fetches to disk and checks its SHA-256; the other end holds its bytes in memory.`,
      tables: [table],
    };
  },
};

async function measure(
  payload: Buffer,
  delayMs: number,
  wide: boolean,
  log: (line: string) => void,
): Promise<{ down: number; up: number }> {
  const directory = mkdtempSync(join(tmpdir(), "fedloom-bench-"));
  const server = new Server(SERVER_OPTIONS);
  const name = { sha256: createHash("sha256").update(payload).digest("hex"), size: payload.length };
  const takeStream = addFleet(
    server,
    () => memoryFleet(payload),
    (error) => log(String(error)),
  );
  const port = await bindWide(server, "127.0.0.1:0", ServerCredentials.createInsecure(), takeStream, {
    widen: wide ? undefined : () => undefined,
  });
  const proxy = await startProxy(`127.0.0.1:${port}`, { delayMs });
  const fleet = connectFleet(proxy.address, credentials.createInsecure());
  const transfer = createTransfer(fleet, openDiskBlobs(directory), "bench", {
    clock: systemClock,
    rng: createRng(1),
    onWait: ({ message }) => log(`waiting: ${message}`),
  });
  const control = { signal: new AbortController().signal, idleMs: 60_000, onProgress: () => {} };
  const rate = async (act: () => Promise<void>): Promise<number> => {
    const started = performance.now();
    await act();
    return payload.length / 2 ** 20 / ((performance.now() - started) / 1000);
  };
  try {
    const down = await rate(() => transfer.fetch(name, control));
    const up = await rate(() => transfer.push(name, "task", control));
    log(
      `${2 * delayMs} ms, ${wide ? "wide" : "default"} windows: down ${down.toFixed(1)}, up ${up.toFixed(1)} MiB/s`,
    );
    return { down, up };
  } finally {
    fleet.close();
    await proxy.close();
    server.forceShutdown();
    rmSync(directory, { recursive: true });
  }
}

/** The far end: gives out one payload, and hashes what comes in. */
function memoryFleet(payload: Buffer): Fleet {
  const unused = (): never => {
    throw new TypeError("The transfer benchmark makes no such call");
  };
  return {
    connect: unused,
    submitResult: unused,
    reportFailure: unused,
    async *fetchBlob({ offset }) {
      for (let at = Number(offset); at < payload.length; at += CHUNK_BYTES) {
        yield create(FetchBlobResponseSchema, {
          offset: BigInt(at),
          data: payload.subarray(at, at + CHUNK_BYTES),
        });
      }
    },
    statBlob: async () => create(StatBlobResponseSchema, { complete: false, held: 0n }),
    async pushBlob(requests) {
      const hash = createHash("sha256");
      let size = 0;
      for await (const { message } of requests) {
        if (message.case !== "chunk") continue;
        hash.update(message.value.data);
        size += message.value.data.length;
      }
      return create(PushBlobResponseSchema, { size: BigInt(size) });
    },
  };
}
