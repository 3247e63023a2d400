/**
 * What a round costs beside training: clients that train nothing, over gRPC on loopback, coordinator and clients in
 * a process each. Also: how long from nothing to the first round, and back to work after kill -9.
 */
import { loadavg } from "node:os";
import { inDirectory, start, startSwarm } from "./coordinator/processes.ts";
import type { Bench } from "./report.ts";

const ROUNDS = 4;
const DEFAULT_CASES = "10x1,10x16,100x1,100x16,1000x1";

export const bench: Bench = {
  title: "Coordinator: a round without training",
  usage: [`--cases CLIENTSxMIB,...   (default ${DEFAULT_CASES})`],
  async run(args, log) {
    const load = loadavg()[0] ?? 0;
    const at = args.indexOf("--cases");
    const cases = (at < 0 ? DEFAULT_CASES : args[at + 1]!)
      .split(",")
      .map((text) => text.split("x").map(Number));
    const rows: (string | number)[][] = [];
    for (const [clients, payloadMib] of cases) {
      log(`${clients} clients, ${payloadMib} MiB`);
      const { roundS, peakRssMib } = await measureRounds(clients!, payloadMib!);
      rows.push([clients!, payloadMib!, roundS, (2 * clients! * payloadMib!) / roundS, peakRssMib]);
    }
    log("first round, recovery");
    const { firstRoundS, recoveryS, sameAdapter } = await measureRecovery();
    return {
      text: [
        `FedAvg without diagnostics over gRPC on loopback, state on disk (SQLite and blobs, synced before every acknowledgement). Every client fetches the adapter, changes one number, uploads all of it and waits for the next round; all clients share one process, so that the time of a round holds their work too. Median of rounds 2 to ${ROUNDS}; peak memory of the coordinator's process. Load of the machine before: ${load.toFixed(1)}.`,
        `From starting the coordinator's process and two clients to the end of round 1: ${firstRoundS.toFixed(2)} s. From starting it again after \`kill -9\` in round 2 of 4 to the next finished round: ${recoveryS.toFixed(2)} s, final adapter ${sameAdapter ? "equal to" : "DIFFERENT FROM"} the undisturbed run's.`,
      ].join("\n\n"),
      tables: [
        {
          columns: ["clients", "adapter MiB", "s per round", "MiB/s both ways", "peak memory MiB"],
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
    const swarm = startSwarm(address, clients);
    const rounds: number[] = [];
    let peakRssMib = 0;
    for (let round = 1; round <= ROUNDS; round++) {
      const line = await server.next("round");
      if (round > 1) rounds.push(line.durationMs / 1000);
      peakRssMib = line.peakRssMib;
    }
    swarm.kill("SIGKILL");
    server.child.kill("SIGKILL");
    return { roundS: rounds.sort((a, b) => a - b)[Math.floor(rounds.length / 2)]!, peakRssMib };
  });
}

async function measureRecovery(): Promise<{ firstRoundS: number; recoveryS: number; sameAdapter: boolean }> {
  const settings = { clients: 2, payloadMib: 1, rounds: ROUNDS };
  const undisturbed = await inDirectory(async (state) => {
    const startedMs = performance.now();
    const server = start({ state, listen: "127.0.0.1:0", ...settings });
    const { address } = await server.next("listening");
    const swarm = startSwarm(address, settings.clients);
    await server.next("round");
    const firstRoundS = (performance.now() - startedMs) / 1000;
    const { adapter } = await server.next("finished");
    swarm.kill("SIGKILL");
    server.child.kill("SIGKILL");
    return { firstRoundS, adapter };
  });
  return inDirectory(async (state) => {
    const first = start({ state, listen: "127.0.0.1:0", ...settings });
    const { address } = await first.next("listening");
    const swarm = startSwarm(address, settings.clients);
    await first.next("round");
    first.child.kill("SIGKILL");
    await new Promise((resolve) => first.child.once("exit", resolve));
    const startedMs = performance.now();
    const second = start({ state, listen: address, ...settings });
    await second.next("round");
    const recoveryS = (performance.now() - startedMs) / 1000;
    const { adapter } = await second.next("finished");
    swarm.kill("SIGKILL");
    second.child.kill("SIGKILL");
    return { firstRoundS: undisturbed.firstRoundS, recoveryS, sameAdapter: adapter === undisturbed.adapter };
  });
}
