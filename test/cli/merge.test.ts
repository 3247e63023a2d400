import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { fedloom } from "./process.ts";

const models = join(import.meta.dirname, "../golden/models");
const folder = mkdtempSync(join(tmpdir(), "fedloom-cli-merge-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("fedloom merge writes the model and says which weights it changed", async () => {
  const out = join(folder, "merged");
  const adapter = join(models, "smollm-tiny/reference/r4_a8_qkvo/adapter");
  const { code, stdout } = await fedloom(
    "merge",
    join(models, "smollm-tiny"),
    "--adapter",
    adapter,
    "--out",
    out,
    "--json",
  );
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    schema: "fedloom.merge/1",
    directory: out,
    graphs: { "onnx/model.onnx": 8 },
    sameBase: null,
    skipped: [],
  });
  expect(readdirSync(join(out, "onnx"))).toEqual(["model.onnx"]);
});

test("fedloom merge names what keeps it from merging, and writes nothing", async () => {
  const out = join(folder, "refused");
  const adapter = join(models, "smollm-tiny-q4/reference/r4_a8_qkvo/adapter");
  const { code, stderr } = await fedloom(
    "merge",
    join(models, "smollm-tiny-q4"),
    "--adapter",
    adapter,
    "--out",
    out,
  );
  expect(stderr).toMatch(
    /Cannot merge an adapter into ".*model_q4.onnx": ".*" has quantized weights \(F3013\)\n$/,
  );
  expect(code).not.toBe(0);
  expect(readdirSync(folder)).not.toContain("refused");
});
