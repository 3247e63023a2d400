/**
 * Partitions of 100,000 examples, and the reading of 10,000 pictures: seconds and memory. Both work on a generated
 * dataset in the Hateful-Memes layout in a temporary directory.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import sharp from "sharp";
import { createRng } from "../base/rng.ts";
import { examplesOf } from "../data/dataset.ts";
import type { Example } from "../data/example.ts";
import { openDataset } from "../data/open-dataset.ts";
import { encodePartition } from "../data/shards.ts";
import { cleanPlan } from "../scenarios/clean-plan.ts";
import { publishedPlan } from "../scenarios/fedmllm/published-plan.ts";
import { scenarioNamed } from "../scenarios/fedmllm/scenario.ts";
import type { Bench, Report } from "./report.ts";

const EXAMPLES = 100_000;
const PICTURES = 10_000;
/** Edge of a picture in pixels; as a phone's thumbnail. */
const EDGE = 256;

const MIB = 2 ** 20;

/** V8's own collector, so that what is counted as held is held. */
function collector(): () => void {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  if (typeof collect !== "function")
    throw new TypeError("This runtime gives no access to its garbage collector");
  return () => void collect();
}

const collectGarbage = collector();

interface Measured<T> {
  readonly value: T;
  readonly seconds: number;
  /** Heap and buffers held after a collection, beyond what was held before. */
  readonly heldMiB: number;
}

async function measured<T>(work: () => Promise<T> | T): Promise<Measured<T>> {
  const held = (): number => {
    collectGarbage();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const before = held();
  const start = performance.now();
  const value = await work();
  const seconds = (performance.now() - start) / 1000;
  return { value, seconds, heldMiB: Math.max(0, held() - before) / MIB };
}

function writeDataset(folder: string): void {
  const rng = createRng("bench data");
  mkdirSync(join(folder, "img"), { recursive: true });
  const rows = Array.from({ length: EXAMPLES }, (_, id) => {
    const text = Array.from({ length: 12 }, () => `word${rng.below(5000)}`).join(" ");
    return JSON.stringify({ id, img: `img/${id % PICTURES}.jpg`, label: rng.below(3) === 0 ? 1 : 0, text });
  });
  writeFileSync(join(folder, "train.jsonl"), `${rows.join("\n")}\n`);
}

async function writePictures(folder: string): Promise<void> {
  const rng = createRng("bench pictures");
  // Few different pictures, many files: decoding costs the same, writing them less.
  const jpegs = await Promise.all(
    Array.from({ length: 50 }, () => {
      const cell = Uint8Array.from({ length: 16 * 16 * 3 }, () => rng.below(256));
      return sharp(cell, { raw: { width: 16, height: 16, channels: 3 } })
        .resize(EDGE, EDGE)
        .jpeg()
        .toBuffer();
    }),
  );
  for (let i = 0; i < PICTURES; i++) writeFileSync(join(folder, "img", `${i}.jpg`), jpegs[i % jpegs.length]!);
}

/** @param each what is done with the bytes */
async function readPictures(
  examples: readonly Example[],
  each: (bytes: Uint8Array) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const reader = async (): Promise<void> => {
    for (let i = next++; i < examples.length; i = next++) await each(await examples[i]!.images[0]!.read());
  };
  await Promise.all([reader(), reader(), reader(), reader()]);
}

async function run(_args: readonly string[], log: (line: string) => void): Promise<Report> {
  const folder = mkdtempSync(join(tmpdir(), "fedloom-bench-data-"));
  try {
    log(`writing ${EXAMPLES} rows and ${PICTURES} pictures`);
    writeDataset(folder);
    await writePictures(folder);
    log("opening the dataset");
    const opened = await measured(() => openDataset(folder, { checkMedia: false }));
    const checked = await measured(() => openDataset(folder));
    const examples = examplesOf(opened.value, "train");
    log("partitions");
    const request = { what: "bench", examples, clients: 100, seed: 1 };
    const clean = await measured(() =>
      cleanPlan({
        ...request,
        deal: { name: "dirichlet", alpha: 0.5 },
        mask: { name: "missing", rate: 0.4 },
      }),
    );
    const published = await measured(() =>
      publishedPlan({
        scenario: scenarioNamed("missing"),
        dataset: "hateful-memes",
        level: 0.4,
        data: folder,
        clients: 100,
      }),
    );
    const written = await measured(() => encodePartition(published.value.partition).length / MIB);
    const files = await measured(() => {
      let bytes = 0;
      for (const content of published.value.publishedFiles.values()) bytes += content().length;
      return bytes / MIB;
    });
    log("pictures");
    const some = examples.slice(0, PICTURES);
    const bytes = await measured(() => readPictures(some, async () => undefined));
    const pixels = await measured(() =>
      readPictures(some, (jpeg) => sharp(jpeg).removeAlpha().raw().toBuffer()),
    );
    const row = (what: string, count: number, one: Measured<unknown>): (string | number)[] => [
      what,
      count,
      one.seconds,
      count / one.seconds,
      one.heldMiB,
    ];
    return {
      text: `A generated dataset in the Hateful-Memes layout, 100 clients; pictures are JPEG of ${EDGE} x ${EDGE} pixels, read by four readers and warm in the file cache. "held" is memory still in use after the step. partition.json has ${written.value.toFixed(1)} MiB, the published files ${files.value.toFixed(0)} MiB. Peak of the process: ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MiB.`,
      tables: [
        {
          columns: ["step", "examples", "seconds", "per second", "held MiB"],
          rows: [
            row("open, media not looked for", EXAMPLES, opened),
            row("open, each picture's file looked for", EXAMPLES, checked),
            row("partition, clean: Dirichlet 0.5, missing 0.4", EXAMPLES, clean),
            row("partition, as published (reads the raw file too)", EXAMPLES, published),
            row("the published files' bytes", EXAMPLES, files),
            row("read pictures' bytes", PICTURES, bytes),
            row("read and decode pictures", PICTURES, pixels),
          ],
        },
      ],
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export const bench: Bench = { title: "Data: partitions and pictures", run };
