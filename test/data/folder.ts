/** A temporary dataset directory from file names and contents; removed after the test. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";

export function folder(files: Readonly<Record<string, string | readonly unknown[] | object>>): string {
  const root = mkdtempSync(join(tmpdir(), "fedloom-data-"));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) {
    const path = join(root, name);
    mkdirSync(dirname(path), { recursive: true });
    if (typeof content === "string") writeFileSync(path, content);
    else if (name.endsWith(".jsonl")) {
      writeFileSync(path, (content as readonly unknown[]).map((row) => `${JSON.stringify(row)}\n`).join(""));
    } else writeFileSync(path, JSON.stringify(content, null, 1));
  }
  return root;
}
