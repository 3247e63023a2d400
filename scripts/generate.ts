/**
 * Writes everything in the checkout that is made from something else: code from .proto files, pages from the
 * tables in the code. Run it after changing either; CI runs it and refuses a difference.
 */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorsPage } from "./errors-page.ts";
import { strategiesPage } from "./strategies-page.ts";

const root = join(import.meta.dirname, "..");

function tool(name: string, ...args: string[]): void {
  const done = spawnSync(join(root, "node_modules", ".bin", name), args, { cwd: root, stdio: "inherit" });
  if (done.status !== 0)
    throw new Error(`"${name} ${args.join(" ")}" ended with ${done.status ?? done.signal}`);
}

tool("buf", "lint");
tool("buf", "generate");
writeFileSync(join(root, "docs", "errors.md"), errorsPage());
writeFileSync(join(root, "docs", "strategies.md"), strategiesPage());
