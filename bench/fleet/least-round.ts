/**
 * The least that a round of echoing clients takes in one process, with no coordinator at all: each client's tensors are
 * made anew, their SHA-256 is taken, they are written to a temporary file once, and read twice, to be checked and summed.
 */
import { allFinite } from "../../adapters/cast.ts";
import { float32 } from "../../adapters/tensor.ts";
import { sha256 } from "../../base/hash.ts";
import { type Extent, Spool } from "../../base/spool.ts";
import { ECHO_TENSORS, type EchoSpec, type RoundLine } from "./cases.ts";
import { movedBy } from "./echo-trainer.ts";

/** Read at a time, as an update is. */
const PART = 2 ** 14;

const spec: EchoSpec = JSON.parse(process.argv[2]!);
const bytes = spec.mib * 2 ** 20;
const start = Array.from({ length: ECHO_TENSORS }, () =>
  new Float32Array(bytes / 4 / ECHO_TENSORS).fill(0.1),
);
const part = new Float32Array(PART);
const partBytes = new Uint8Array(part.buffer);
const spool = new Spool();

for (let round = 1; round <= spec.rounds; round++) {
  const updates: Extent[] = [];
  for (let client = 0; client < spec.clients; client++) {
    const pieces = start.map((values) => new Uint8Array(movedBy(values, 1e-3 * client).buffer));
    sha256(...pieces);
    const update = spool.write(pieces);
    for (let at = 0; at < bytes; at += partBytes.length) {
      spool.read(update, at, partBytes);
      if (!allFinite(float32([PART], part))) throw new TypeError("An echo is not finite");
    }
    updates.push(update);
  }
  const sum = new Float64Array(PART);
  for (let at = 0; at < bytes; at += partBytes.length)
    for (const update of updates) {
      spool.read(update, at, partBytes);
      for (let i = 0; i < PART; i++) sum[i]! += part[i]!;
    }
  for (const update of updates) spool.free(update);
  const line: RoundLine = { round, at: performance.now() / 1000 };
  console.log(JSON.stringify(line));
}
spool.close();
