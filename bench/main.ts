/**
 * `npm run bench -- NAME [options]`: runs bench/NAME.ts and writes its section of docs/benchmarks.md.
 * Without a name: the list. `--dry` prints the section and leaves the page alone.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { codeCache } from "../bin/code-cache.mjs";
import { startAnew } from "../bin/start-memory.mjs";
import { type Bench, renderTable, writeReport } from "./report.ts";

// As the program does; what is measured beside it inherits the same, and Python keeps what it compiled, too.
startAnew();
process.env.NODE_COMPILE_CACHE ??= codeCache();

const names = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith(".ts"))
  .map((file) => file.slice(0, -".ts".length))
  .sort();

async function load(name: string): Promise<Bench | undefined> {
  const module: { bench?: Bench } = await import(pathToFileURL(join(import.meta.dirname, `${name}.ts`)).href);
  return module.bench;
}

const wantsHelp = (arg: string | undefined): boolean => arg === "--help" || arg === "-h";

/** @param wanted names of the benchmarks that are told of */
async function list(wanted: readonly string[]): Promise<void> {
  console.log("npm run bench -- NAME [options]\n");
  for (const name of wanted) {
    if (name === "main") continue; // this file
    const bench = await load(name);
    if (bench === undefined) continue;
    console.log(`  ${name.padEnd(14)} ${bench.title}`);
    for (const line of bench.usage ?? []) console.log(`  ${"".padEnd(14)}   ${line}`);
  }
}

const [name, ...rest] = process.argv.slice(2);
if (name === undefined || wantsHelp(name)) {
  await list(names);
} else {
  const bench = names.includes(name) && name !== "main" ? await load(name) : undefined;
  if (bench === undefined) {
    console.error(`Cannot run benchmark "${name}": there is none of that name`);
    await list(names);
    process.exit(2);
  }
  if (rest.some(wantsHelp)) {
    await list([name]);
    process.exit(0);
  }
  const dry = rest.includes("--dry");
  const args = rest.filter((arg) => arg !== "--dry");
  const report = await bench.run(args, (line) => console.error(line));
  if (dry) {
    console.log([report.text, ...report.tables.map(renderTable)].join("\n\n"));
  } else {
    console.log(writeReport(name, bench, args, report));
  }
}
