/** One case in a process of its own, so that its peak memory is its own. Prints JSON. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readSafetensors } from "../../adapters/safetensors.ts";
import { openAggregator } from "../../aggregators/aggregator.ts";
import { buildStrategy } from "../../aggregators/build.ts";
import type { UpdateInfo } from "../../aggregators/strategy.ts";
import { adapterOf } from "./layout.ts";

const [directory, name, clients, threads, rounds] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
];
const { config } = adapterOf(1 / 8, "global");
const global = { config, tensors: readSafetensors(readFileSync(join(directory, "global.safetensors"))) };
const infoOf = (k: number): UpdateInfo => ({
  client: `c${String(k).padStart(3, "0")}`,
  examples: 10 + k,
  steps: 1,
  touched: {},
  metrics: {},
  adapter: config,
});
/** More clients than files send the same again. */
const files = readdirSync(directory).filter((file) => file.startsWith("update-")).length;
const updates = Array.from({ length: Number(clients) }, (_, k) => ({
  info: infoOf(k),
  model: join(directory, `update-${k % files}.safetensors`),
}));
const built = buildStrategy({ name });
const aggregator = openAggregator({ threads: Number(threads) });
let state = built.strategy.init(global);
const seconds: number[] = [];
const cpuSeconds: number[] = [];
for (let round = 1; round <= Number(rounds); round++) {
  const startedMs = performance.now();
  const cpuBefore = process.cpuUsage();
  const totalClients = updates.length;
  const result = await aggregator.aggregate({
    built,
    state,
    round,
    global,
    seed: 1,
    totalClients,
    updates,
    diagnostics: false,
  });
  seconds.push((performance.now() - startedMs) / 1000);
  const { user, system } = process.cpuUsage(cpuBefore);
  cpuSeconds.push((user + system) / 1e6);
  state = result.state;
}
await aggregator.close();
console.log(JSON.stringify({ seconds, cpuSeconds, peakMib: process.resourceUsage().maxRSS / 1024 }));
