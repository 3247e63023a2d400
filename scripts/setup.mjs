// Brings the checkout to a state in which every npm script runs: dependencies as the lockfile says.
// Plain JavaScript for Node 20: it runs before the Node 24 that the dependencies bring is there.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const oldest = 20;
const major = Number(process.versions.node.split(".")[0]);
if (major < oldest) {
  console.error(`Cannot set up fedloom: Node ${oldest} or newer is needed, got ${process.versions.node}`);
  process.exit(1);
}

// The marker holds the lockfile's hash, so that a pull that changes dependencies installs again.
const lock = createHash("sha256")
  .update(readFileSync(join(root, "package-lock.json")))
  .digest("hex");
const marker = join(root, "node_modules", ".fedloom-setup");
if (existsSync(marker) && readFileSync(marker, "utf8") === lock) process.exit(0);

console.error("Installing dependencies (once; nothing is compiled, no install scripts run) ...");
const npm = process.env.npm_execpath;
const args = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
const done = npm?.endsWith(".js")
  ? spawnSync(process.execPath, [npm, ...args], { cwd: root, stdio: "inherit" })
  : spawnSync("npm", args, { cwd: root, stdio: "inherit", shell: process.platform === "win32" });
if (done.status !== 0) {
  console.error(
    `Cannot set up fedloom: "npm ${args.join(" ")}" ended with ${done.status ?? done.signal ?? done.error?.message}`,
  );
  process.exit(1);
}
writeFileSync(marker, lock);
