/** Several clients' adapters in one pass, beside a step of each: the 256M-shaped decoder and the embedded model's. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { float32, type Tensor, tensor, tensorSet } from "../adapters/tensor.ts";
import { createRng, type Rng } from "../base/rng.ts";
import { openGraphFile } from "../training/onnx/edge/files.ts";
import type { Batch, Engine, Share } from "../training/onnx/engine.ts";
import { openEngine } from "../training/onnx/open.ts";
import { stackTensors } from "../training/onnx/together.ts";
import { type Bench, ratioText } from "./report.ts";
import { SMOLVLM_256M, writeDecoder } from "./train/decoder.ts";

interface Case {
  readonly name: string;
  readonly tokens: number;
  readonly labels: number;
}

const EMBEDDED = join(import.meta.dirname, "../assets/models/fedloom-nano/onnx/decoder_model_merged.onnx");
const LARGE: readonly Case[] = [{ name: "256M shape, 64 tokens each", tokens: 64, labels: 8 }];
const SMALL: readonly Case[] = [
  { name: "fedloom-nano, 16 tokens each", tokens: 16, labels: 4 },
  { name: "fedloom-nano, 64 tokens each", tokens: 64, labels: 4 },
];

interface Settings {
  readonly rounds: number;
  readonly clients: readonly number[];
  readonly threads: number;
  readonly layers: number;
}

export const bench: Bench = {
  title: "Many adapters in one pass",
  usage: [
    "--rounds N   passes of each kind, alternating (4)",
    "--clients L  list of numbers of clients (1,4,16)",
    "--threads N  threads of the runtime (1)",
    "--layers N   layers of the 256M-shaped decoder (30); 0: leave it out",
  ],
  async run(args, log) {
    const settings = settingsOf(args);
    const rows = await measureModel(EMBEDDED, SMALL, settings, log);
    if (settings.layers > 0) {
      const folder = mkdtempSync(join(tmpdir(), "fedloom-bench-adapters-"));
      try {
        const model = writeDecoder(folder, { ...SMOLVLM_256M, layers: settings.layers });
        rows.push(...(await measureModel(model, LARGE, settings, log)));
      } finally {
        rmSync(folder, { recursive: true });
      }
    }
    return { text: TEXT, tables: [{ columns: COLUMNS, rows }] };
  },
};

const TEXT = `LoRA of rank 8 on q, k, v, o; one example a client, forward and backward, float32. "together" is one pass for all
clients, each with its own factors; "apart" is a step of each, one after the other, with the same engine in the same process.
"one adapter" is a pass of the same examples with the same factors for all, of which no pass with factors of each can be
cheaper: what it takes beside the steps apart is the least that a ratio can be. All three alternate; the first pass of each,
which opens its session, is not counted. Time is CPU seconds, the smallest of each kind; "ratio" is together over apart, of the
smallest and, behind the stroke, the median of the ratios of each round, and "least ratio" is one adapter over apart likewise. On
the embedded model a step of 16 tokens is mostly the fixed cost of a run, which the clients of a pass share; with 64 tokens
it is arithmetic, which nobody can share.`;

const COLUMNS = [
  "model",
  "clients",
  "apart s",
  "together s",
  "together, each, s",
  "one adapter s",
  "ratio",
  "least ratio",
  "opening s",
];

async function measureModel(
  path: string,
  cases: readonly Case[],
  settings: Settings,
  log: (line: string) => void,
): Promise<(string | number)[][]> {
  const file = openGraphFile(path);
  const plain = await openEngine({ file, lora: [], objective: "tokens" });
  const paths = plain.modules.map((module) => module.path).filter((name) => /[qkvo]_proj$/.test(name));
  await plain.close();
  const lora = paths.map((name) => ({ path: name, rank: 8, scale: 1 }));
  const rows: (string | number)[][] = [];
  for (const wanted of cases)
    for (const clients of settings.clients) {
      log(`${wanted.name}, ${clients} client(s)`);
      const engine = await openEngine({ file, lora, objective: "tokens", threads: settings.threads });
      rows.push(await measure(engine, wanted, clients, settings.rounds));
      await engine.close();
    }
  return rows;
}

async function measure(
  engine: Engine,
  wanted: Case,
  clients: number,
  rounds: number,
): Promise<(string | number)[]> {
  const rng = createRng("bench adapters");
  const shares = Array.from({ length: clients }, (_, i) => shareOf(engine, wanted, rng.fork(i)));
  const kinds = {
    apart: async () => {
      for (const { batch, parameters } of shares) await engine.step(batch, parameters);
    },
    together: () => engine.stepTogether(shares),
    one: () => engine.step(inOne(shares.map(({ batch }) => batch)), shares[0]!.parameters),
  };
  const opening = await cpuSeconds(kinds.together);
  await kinds.apart();
  await kinds.one();
  const seconds = { apart: [] as number[], together: [] as number[], one: [] as number[] };
  for (let round = 0; round < rounds; round++) {
    seconds.apart.push(await cpuSeconds(kinds.apart));
    seconds.together.push(await cpuSeconds(kinds.together));
    seconds.one.push(await cpuSeconds(kinds.one));
  }
  const { apart, together, one } = seconds;
  const best = Math.min(...together);
  const ratios = [ratioText(together, apart), ratioText(one, apart)];
  return [
    wanted.name,
    clients,
    Math.min(...apart),
    best,
    best / clients,
    Math.min(...one),
    ...ratios,
    opening,
  ];
}

/** The examples of all clients as one batch. */
function inOne(batches: readonly Batch[]): Batch {
  const joined = (tensors: readonly Tensor[]): Tensor => {
    const parts = tensors.map((part) => ({ tensor: part, rows: 1 }));
    return stackTensors(parts, 1)!; // all have one shape
  };
  const names = [...batches[0]!.inputs.keys()];
  return {
    inputs: tensorSet(names.map((name) => [name, joined(batches.map(({ inputs }) => inputs.get(name)!))])),
    labels: joined(batches.map(({ labels }) => labels!)), // every share has labels
  };
}

function shareOf(engine: Engine, { tokens, labels }: Case, rng: Rng): Share {
  const normal = (shape: readonly number[], spread: number): Tensor => {
    const size = shape.reduce((product, dim) => product * dim, 1);
    return float32(
      shape,
      Float32Array.from({ length: size }, () => rng.normal() * spread),
    );
  };
  const width = engine.inputs.find(({ name }) => name === "inputs_embeds")!.shape[2] as number; // both decoders state it
  const int64 = (value: (i: number) => number) =>
    tensor(
      "I64",
      [1, tokens],
      BigInt64Array.from({ length: tokens }, (_, i) => BigInt(value(i))),
    );
  const inputs = new Map([
    ["inputs_embeds", normal([1, tokens, width], 1)],
    ["attention_mask", int64(() => 1)],
  ]);
  const targets = int64((i) => (i >= tokens - labels ? rng.below(800) : -100));
  const parameters = new Map(engine.parameters.map(({ name, shape }) => [name, normal(shape, 0.02)]));
  return { batch: { inputs, labels: targets }, parameters };
}

async function cpuSeconds(work: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

function settingsOf(args: readonly string[]): Settings {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: "string", default: "4" },
      clients: { type: "string", default: "1,4,16" },
      threads: { type: "string", default: "1" },
      layers: { type: "string", default: "30" },
    },
  });
  return {
    rounds: Number(values.rounds),
    clients: values.clients.split(",").map(Number),
    threads: Number(values.threads),
    layers: Number(values.layers),
  };
}
