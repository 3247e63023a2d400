/**
 * What a round costs beside training: clients that train nothing, over gRPC on loopback, coordinator and clients in
 * a process each. Also: how long from nothing to the first round, and back to work after kill -9. Where BENCH_PYTHON
 * has Flower, the same load on its gRPC engine and its current deployment, in the same run.
 */
import { loadavg } from "node:os";
import { flowerVersion, measureFlower } from "./coordinator/flower.ts";
import { inDirectory, start, startSwarm } from "./coordinator/processes.ts";
import { type Bench, median } from "./report.ts";

/** The first is not counted, and of a dozen the program's own warming up is in few. */
const ROUNDS = 8;
/** For kill -9 in the middle. */
const RECOVERY_ROUNDS = 4;
const DEFAULT_CASES = "10x1,10x16,100x1,100x16,1000x1";
/** A Python process each: a thousand of them do not fit a machine, and a hundred take minutes to start. */
const DEFAULT_GRPC = "10x1,10x16";
/** Its nodes start a process for each task. */
const DEFAULT_DEPLOYMENT = "10x1";

interface Case {
  readonly clients: number;
  readonly payloadMib: number;
}

export const bench: Bench = {
  title: "Coordinator: a round without training",
  usage: [
    `--cases CLIENTSxMIB,...        (default ${DEFAULT_CASES})`,
    `--grpc CLIENTSxMIB,...         those that Flower's gRPC engine gets too (default ${DEFAULT_GRPC})`,
    `--deployment CLIENTSxMIB,...   those that its current deployment gets (default ${DEFAULT_DEPLOYMENT})`,
  ],
  async run(args, log) {
    const load = loadavg()[0] ?? 0;
    const casesOf = (flag: string, otherwise: string): Case[] => {
      const at = args.indexOf(flag);
      return (at < 0 ? otherwise : args[at + 1]!)
        .split(",")
        .filter((text) => text !== "")
        .map((text) => text.split("x").map(Number))
        .map(([clients, payloadMib]) => ({ clients: clients!, payloadMib: payloadMib! }));
    };
    const flower = flowerVersion();
    const theirs = {
      grpc: casesOf("--grpc", DEFAULT_GRPC),
      deployment: casesOf("--deployment", DEFAULT_DEPLOYMENT),
    };
    const rows: (string | number)[][] = [];
    for (const { clients, payloadMib } of casesOf("--cases", DEFAULT_CASES)) {
      log(`${clients} clients, ${payloadMib} MiB`);
      const ours = await measureRounds(clients, payloadMib);
      const row = (system: string, roundS: number, peakMib: number) => [
        system,
        clients,
        payloadMib,
        roundS,
        (2 * clients * payloadMib) / roundS,
        peakMib,
        ours.roundS / roundS,
        ours.peakRssMib / peakMib,
      ];
      rows.push(row("fedloom", ours.roundS, ours.peakRssMib));
      if (flower === undefined) continue;
      for (const engine of ["grpc", "deployment"] as const) {
        if (!theirs[engine].some((one) => one.clients === clients && one.payloadMib === payloadMib)) continue;
        log(`${clients} clients, ${payloadMib} MiB: Flower ${engine}`);
        const { roundS, peakMib } = await measureFlower(engine, { clients, payloadMib, rounds: ROUNDS });
        rows.push(row(engine === "grpc" ? "Flower, gRPC engine" : "Flower, deployment", roundS, peakMib));
      }
    }
    log("first round, recovery");
    const { firstRoundS, recoveryS, sameAdapter } = await measureRecovery();
    return {
      text: [
        `FedAvg without diagnostics over gRPC on loopback, state on disk (SQLite and blobs, synced before every acknowledgement). Every client fetches the adapter, changes one number, uploads all of it and waits for the next round; all clients share the processors with it, in a process for each of these, so that the time of a round holds their work too. Median of rounds 2 to ${ROUNDS}; peak memory of the coordinator's process. Load of the machine before: ${load.toFixed(1)}.`,
        flower === undefined
          ? "Without Flower: BENCH_PYTHON names no interpreter that has it."
          : `Flower ${flower} with equal payload, clients in a process each (bench/coordinator/flower_*.py): it keeps updates in memory, syncs nothing and hashes nothing. Memory of its deployment is that of the SuperLink and the processes below it. "ours / theirs" is fedloom's figure over that row's, of this run.`,
        `From starting the coordinator's process and two clients to the end of round 1: ${firstRoundS.toFixed(2)} s. From starting it again after \`kill -9\` in round 2 of 4 to the next finished round: ${recoveryS.toFixed(2)} s, final adapter ${sameAdapter ? "equal to" : "DIFFERENT FROM"} the undisturbed run's.`,
      ].join("\n\n"),
      tables: [
        {
          columns: [
            "system",
            "clients",
            "adapter MiB",
            "s per round",
            "MiB/s both ways",
            "peak memory MiB",
            "time, ours / theirs",
            "memory, ours / theirs",
          ],
          rows,
        },
      ],
    };
  },
};

async function measureRounds(
  clients: number,
  payloadMib: number,
): Promise<{ roundS: number; peakRssMib: number }> {
  return inDirectory(async (state) => {
    const server = start({ state, listen: "127.0.0.1:0", clients, payloadMib, rounds: ROUNDS });
    const { address } = await server.next("listening");
    const endSwarm = startSwarm(address, clients);
    const rounds: number[] = [];
    let peakRssMib = 0;
    for (let round = 1; round <= ROUNDS; round++) {
      const line = await server.next("round");
      if (round > 1) rounds.push(line.durationMs / 1000);
      peakRssMib = line.peakRssMib;
    }
    endSwarm();
    server.child.kill("SIGKILL");
    return { roundS: median(rounds), peakRssMib };
  });
}

async function measureRecovery(): Promise<{ firstRoundS: number; recoveryS: number; sameAdapter: boolean }> {
  const settings = { clients: 2, payloadMib: 1, rounds: RECOVERY_ROUNDS };
  const undisturbed = await inDirectory(async (state) => {
    const startedMs = performance.now();
    const server = start({ state, listen: "127.0.0.1:0", ...settings });
    const { address } = await server.next("listening");
    const endSwarm = startSwarm(address, settings.clients);
    await server.next("round");
    const firstRoundS = (performance.now() - startedMs) / 1000;
    const { adapter } = await server.next("finished");
    endSwarm();
    server.child.kill("SIGKILL");
    return { firstRoundS, adapter };
  });
  return inDirectory(async (state) => {
    const first = start({ state, listen: "127.0.0.1:0", ...settings });
    const { address } = await first.next("listening");
    const endSwarm = startSwarm(address, settings.clients);
    await first.next("round");
    first.child.kill("SIGKILL");
    await new Promise((resolve) => first.child.once("exit", resolve));
    const startedMs = performance.now();
    const second = start({ state, listen: address, ...settings });
    await second.next("round");
    const recoveryS = (performance.now() - startedMs) / 1000;
    const { adapter } = await second.next("finished");
    endSwarm();
    second.child.kill("SIGKILL");
    return { firstRoundS: undisturbed.firstRoundS, recoveryS, sameAdapter: adapter === undisturbed.adapter };
  });
}
