/**
 * Whether the coordinator's memory grows with the rounds: 200 rounds of 50 clients that train nothing, over gRPC,
 * and the slope of a line through what the coordinator's process holds after each round.
 */
import { inDirectory, start, startSwarm } from "./coordinator/processes.ts";
import type { Bench } from "./report.ts";

const DEFAULT_ROUNDS = 200;
const CLIENTS = 50;
/** One module of 128 KiB: bytes are counted by other benchmarks, here objects are. */
const PAYLOAD_MIB = 0.125;
/** The heap grows to its working size first; the line is drawn from here on. */
const WARM_UP = 0.25;

export const bench: Bench = {
  title: "Coordinator: memory over many rounds",
  usage: [`--rounds N   (default ${DEFAULT_ROUNDS})`],
  async run(args, log) {
    const at = args.indexOf("--rounds");
    const rounds = at < 0 ? DEFAULT_ROUNDS : Number(args[at + 1]);
    const rss = await inDirectory(async (state) => {
      const settings = {
        state,
        listen: "127.0.0.1:0",
        clients: CLIENTS,
        payloadMib: PAYLOAD_MIB,
        rounds,
      };
      const server = start(settings);
      const { address } = await server.next("listening");
      const endSwarm = startSwarm(address, CLIENTS);
      const seen: number[] = [];
      for (let round = 1; round <= rounds; round++) {
        const { rssMib } = await server.next("round");
        seen.push(rssMib);
        if (round % 20 === 0) log(`round ${round}: ${rssMib.toFixed(1)} MiB`);
      }
      endSwarm();
      server.child.kill("SIGKILL");
      return seen;
    });
    const counted = rss.slice(Math.floor(rss.length * WARM_UP));
    return {
      text: `${rounds} rounds of ${CLIENTS} clients over gRPC, adapter of ${PAYLOAD_MIB} MiB, FedAvg without diagnostics; V8's heap as it is by default; resident memory of the coordinator's process after each round, slope by least squares after the first ${WARM_UP * 100} % of the rounds.`,
      tables: [
        {
          columns: ["rounds", "MiB after the first", "MiB at the end", "most MiB", "slope, MiB per round"],
          rows: [[rounds, rss[0]!, rss.at(-1)!, Math.max(...rss), slopeOf(counted)]],
        },
      ],
    };
  },
};

/** Of the line through (0, y0), (1, y1), ... by least squares. */
function slopeOf(values: readonly number[]): number {
  const meanX = (values.length - 1) / 2;
  const meanY = values.reduce((sum, y) => sum + y, 0) / values.length;
  const over = values.reduce((sum, y, x) => sum + (x - meanX) * (y - meanY), 0);
  const under = values.reduce((sum, _, x) => sum + (x - meanX) ** 2, 0);
  return over / under;
}
