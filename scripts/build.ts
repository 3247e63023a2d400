/** npm run build: dist/ for publishing, JavaScript with types, and the data files that modules read beside themselves. */
import { spawnSync } from "node:child_process";
import { cpSync, globSync, rmSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const out = process.argv[2] ?? join(root, "dist");

rmSync(out, { recursive: true, force: true });
const tsc = join(root, "node_modules", ".bin", "tsc");
const built = spawnSync(tsc, ["-p", "tsconfig.build.json", "--outDir", out], { cwd: root, stdio: "inherit" });
if (built.status !== 0) process.exit(built.status ?? 1);
for (const file of globSync("scenarios/**/*.yaml", { cwd: root })) cpSync(join(root, file), join(out, file));
