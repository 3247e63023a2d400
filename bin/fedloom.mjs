#!/usr/bin/env node
// Starts the command line. Plain JavaScript, so that an older Node can still find the newer one that the
// optional dependency node-<platform> brings: sources run by type stripping and the journal is node:sqlite.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import module, { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { codeCache } from "./code-cache.mjs";
import { lackingEnvironment, startAnew } from "./start-memory.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const source = join(here, "..", "cli", "main.ts");
// Node strips no types below node_modules: an installed package runs what tsc emitted.
const installed = here.split(/[\\/]/).includes("node_modules");
const entry = !installed && existsSync(source) ? source : join(here, "..", "dist", "cli", "main.js");
const wanted = 24;

if (Number(process.versions.node.split(".")[0]) >= wanted) {
  process.removeAllListeners("warning"); // node:sqlite and execve announce themselves as experimental on every start
  process.on("warning", (warning) => {
    if (warning.name !== "ExperimentalWarning") console.error(warning.stack);
  });
  startAnew();
  module.enableCompileCache(codeCache()); // where it cannot be written, nothing is lost but time
  const { main } = await import(pathToFileURL(entry).href);
  process.exitCode = await main(process.argv.slice(2));
} else {
  const newer = newerNode();
  if (newer === undefined) {
    console.error(
      `Cannot start fedloom: Node ${wanted} or newer is wanted, got ${process.versions.node}, and no optional dependency brought one; install Node ${wanted}`,
    );
    process.exit(1);
  }
  const child = spawn(newer, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: "inherit",
    env: { ...process.env, ...lackingEnvironment() },
  });
  // The child decides how to end; this process only passes on what it is told.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => {
      if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)));
}

function newerNode() {
  const require = createRequire(import.meta.url);
  const names = [`node-${process.platform}-${process.arch}`, `node-bin-${process.platform}-${process.arch}`];
  for (const name of names) {
    try {
      const binary = join(dirname(require.resolve(`${name}/package.json`)), "bin", "node");
      if (existsSync(binary)) return binary;
    } catch {
      // not installed for this platform: the next name may be
    }
  }
  return undefined;
}
