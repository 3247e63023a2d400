/** A payload far larger than memory should hold goes through client and coordinator in bounded memory. */
import { createHash } from "node:crypto";
import { closeSync, existsSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startProcess, temporaryDirectory } from "../e2e/processes.ts";
import { LONG } from "./lives.ts";

const MIB = 2 ** 20;
const SIZE = (LONG ? 2048 : 384) * MIB;
/** Node, gRPC and SQLite take some 150 MiB, windows and chunks under way some 60 (241 MiB measured for 2 GiB). */
const MOST_MEMORY = 320 * MIB;

test(`an update of ${SIZE / MIB} MiB passes through both processes in less than ${MOST_MEMORY / MIB} MiB each`, async () => {
  const directory = temporaryDirectory();
  const file = join(directory, "payload");
  const hash = createHash("sha256");
  const block = Buffer.alloc(MIB);
  const fd = openSync(file, "w");
  for (let i = 0; i < SIZE / MIB; i++) {
    block.fill(i % 251);
    hash.update(block);
    writeSync(fd, block);
  }
  closeSync(fd);
  const sha256 = hash.digest("hex");

  const program = join(import.meta.dirname, "large-payload.ts");
  const receiver = startProcess(program, ["receive", join(directory, "coordinator")]);
  const [, address] = await receiver.line(/^listening on (\S+)$/);
  const sender = startProcess(program, [
    "send",
    join(directory, "client"),
    address!,
    file,
    sha256,
    String(SIZE),
  ]);
  const peak = async (child: typeof sender): Promise<number> =>
    Number((await child.line(/^peak (\d+)$/, LONG ? 600_000 : 280_000))[1]);
  const sent = await peak(sender);
  receiver.process.send("report");
  const received = await peak(receiver);
  console.log(
    `${SIZE / MIB} MiB: peak resident memory ${Math.round(sent / MIB)} MiB at the client, ${Math.round(received / MIB)} MiB at the coordinator`,
  );
  expect(sent).toBeLessThan(MOST_MEMORY);
  expect(received).toBeLessThan(MOST_MEMORY);
  expect(existsSync(join(directory, "client", sha256))).toBe(true);
});
