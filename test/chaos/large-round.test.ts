/** A whole round of an adapter far larger than memory should hold: handed out, sent back, averaged, published, verified. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openSafetensors } from "../../adapters/safetensors.ts";
import { startProcess, temporaryDirectory } from "../e2e/processes.ts";
import { LONG } from "./lives.ts";

const MIB = 2 ** 20;
const ADAPTER_MIB = LONG ? 2048 : 384;
/** Node, gRPC, SQLite and the threads take some 180 MiB; the rest is pieces and blocks, however large the adapter. */
const MOST_MEMORY = 320 * MIB;
const DEADLINE_MS = LONG ? 1_200_000 : 280_000;

test(
  `a round of an adapter of ${ADAPTER_MIB} MiB takes the coordinator less than ${MOST_MEMORY / MIB} MiB`,
  async () => {
    const directory = temporaryDirectory();
    const program = join(import.meta.dirname, "large-round.ts");
    const state = join(directory, "coordinator");
    const coordinator = () => startProcess(program, ["coordinator", state, String(ADAPTER_MIB)]);
    // A model makes the first adapter in memory; the process that does so is not the one that is measured.
    const first = coordinator();
    await first.line(/^prepared/, DEADLINE_MS);
    await first.kill();
    const second = coordinator();
    const [, address] = await second.line(/^prepared, listening on (\S+)$/);
    for (const name of ["c1", "c2"]) startProcess(program, ["client", join(directory, name), address!, name]);
    const [, sha256, record] = await second.line(/^finished (\S+) (.*)$/, DEADLINE_MS);
    expect(JSON.parse(record!)).toMatchObject({ ok: 2, failed: 0 });
    second.process.send("report");
    expect((await second.line(/^verified (.*)$/, DEADLINE_MS))[1]).toBe("true");
    const peak = Number((await second.line(/^peak (\d+)$/))[1]);
    console.log(`${ADAPTER_MIB} MiB: peak resident memory of the coordinator ${Math.round(peak / MIB)} MiB`);
    expect(peak).toBeLessThan(MOST_MEMORY);

    // (1 + 3) / 2 where the clients differ, 0.5 elsewhere.
    const blob = openSafetensors(join(state, "blobs", sha256!.slice(0, 2), sha256!));
    const last = blob.names.at(-1)!;
    for (const name of [blob.names[0]!, last]) {
      const { data } = blob.read(name);
      expect(data[0]).toBe(0.5);
      expect(data.at(-1)).toBe(name === last ? 2 : 0.5);
    }
    blob.close();
    const [run] = readdirSync(join(state, "runs"));
    expect(existsSync(join(state, "runs", run!, "adapter", "adapter_model.safetensors"))).toBe(true);
  },
  DEADLINE_MS + 60_000,
);
