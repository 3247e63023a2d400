/**
 * An embedding that a head shares its table with: PEFT trains a copy of the embedding, and its merge unties the two
 * (test/golden/peft-tied: a Llama of the golden base's weights with its head tied, by PEFT 0.21.2).
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readPeft } from "../../../adapters/peft.ts";
import { readSafetensors } from "../../../adapters/safetensors.ts";
import { type Tensor, tensor, tensorSet } from "../../../adapters/tensor.ts";
import { mergeModel } from "../../../training/merge/merge-model.ts";
import { openGraphFile } from "../../../training/onnx/edge/files.ts";
import { openSession } from "../../../training/onnx/edge/session.ts";
import { decodeModel, encodeModel } from "../../../training/onnx/format/codec.ts";
import type { NodeProto, TensorProto } from "../../../training/onnx/format/schema.ts";
import { completeInputs } from "../../../training/onnx/inputs.ts";
import { loadGraph } from "../../../training/onnx/load.ts";

const golden = join(import.meta.dirname, "../../golden");
const adapter = readPeft(join(golden, "peft-tied"));
const reference = readSafetensors(readFileSync(join(golden, "peft-tied/logits.safetensors")));
const [ids, off, on] = ["input_ids", "logits_base", "logits_adapter"].map((name) => reference.get(name)!) as [
  Tensor,
  Tensor,
  Tensor,
];
/** PyTorch and onnxruntime order float32 sums differently: 1e-6 here. */
const TOLERANCE = 1e-4;

const folder = mkdtempSync(join(tmpdir(), "fedloom-tied-"));
afterAll(() => rmSync(folder, { recursive: true }));

const TABLE = "model.embed_tokens.weight";

/** How exporters write a head that is tied: the table transposed for it, or the head's matrix turned for the embedding. */
type Form = "table" | "head";

/** The golden base, its head tied, in a directory of its own. */
function tiedModel(form: Form, where: "inside" | "beside"): string {
  const directory = join(folder, `${form}-${where}`);
  mkdirSync(join(directory, "onnx"), { recursive: true });
  const config = JSON.parse(readFileSync(join(golden, "peft/base/config.json"), "utf8"));
  writeFileSync(join(directory, "config.json"), JSON.stringify({ ...config, tie_word_embeddings: true }));
  const model = decodeModel(openGraphFile(join(golden, "peft/base/onnx/model.onnx")).bytes);
  const graph = model.graph!;
  const nodes = graph.node!;
  const head = nodes.find(({ output }) => output?.includes("logits"))!;
  const old = head.input![1]!;
  const table = graph.initializer!.find(({ name }) => name === TABLE)!;
  const [rows, columns] = table.dims as [number, number];
  const values = new Float32Array(table.rawData!.slice().buffer);
  const shared: TensorProto =
    form === "table"
      ? table
      : {
          ...table,
          name: "lm_head.turned",
          dims: [columns, rows],
          rawData: new Uint8Array(
            Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!).buffer,
          ),
        };
  const turned: NodeProto = {
    ...{ opType: "Transpose", name: "turn", input: [shared.name!], output: ["turned"] },
    attribute: [{ name: "perm", type: 7, ints: [1, 0] }],
  };
  const renamed = nodes.map((node) => {
    const from = node === head ? old : TABLE;
    const to = (node === head) === (form === "table") ? "turned" : shared.name!;
    return { ...node, input: node.input?.map((name) => (name === from ? to : name)) ?? [] };
  });
  const kept = graph.initializer!.filter(({ name }) => name !== old && name !== TABLE);
  const stored = (proto: TensorProto): TensorProto => {
    if (where === "inside") return proto;
    const { rawData, ...rest } = proto;
    writeFileSync(join(directory, "onnx/model.onnx_data"), rawData!);
    const place = { location: "model.onnx_data", offset: "0", length: String(rawData!.length) };
    const externalData = Object.entries(place).map(([key, value]) => ({ key, value }));
    return { ...rest, dataLocation: 1, externalData };
  };
  const changed = { ...graph, node: [turned, ...renamed], initializer: [...kept, stored(shared)] };
  writeFileSync(join(directory, "onnx/model.onnx"), encodeModel({ ...model, graph: changed }));
  return directory;
}

async function logitsOf(directory: string): Promise<Tensor> {
  const file = openGraphFile(join(directory, "onnx/model.onnx"));
  const mask = tensor("I64", ids.shape, new BigInt64Array(ids.data.length).fill(1n));
  const given = tensorSet([
    ["input_ids", ids],
    ["attention_mask", mask],
  ]);
  const inputs = completeInputs(loadGraph(file).graph, { inputs: given }, () => false);
  const session = await openSession(file.bytes, { folder: file.folder, device: "cpu", packWeights: false });
  try {
    return (await session.run(inputs, ["logits"])).get("logits")!;
  } finally {
    await session.close();
  }
}

const farthest = (a: Tensor, b: Tensor): number =>
  (a.data as Float32Array).reduce((max, v, i) => Math.max(max, Math.abs(v - (b.data[i] as number))), 0);

test.each(
  (["table", "head"] as const).flatMap((form) =>
    (["inside", "beside"] as const).map((where) => ({ form, where })),
  ),
)(
  "is merged as PEFT merges it, the head keeps the old table: shared as the $form's, weights $where the graph",
  async ({ form, where }) => {
    const model = tiedModel(form, where);
    expect(farthest(await logitsOf(model), off)).toBeLessThan(TOLERANCE);
    const merged = join(folder, `${form}-${where}-merged`);
    const { graphs } = await mergeModel(model, adapter, merged);
    expect(graphs).toEqual({ "onnx/model.onnx": 5 }); // two layers of two, and the table
    expect(farthest(off, on)).toBeGreaterThan(100 * TOLERANCE);
    expect(farthest(await logitsOf(merged), on)).toBeLessThan(TOLERANCE);
    const config = JSON.parse(readFileSync(join(merged, "config.json"), "utf8"));
    expect(config.tie_word_embeddings).toBe(false);
    expect(JSON.parse(readFileSync(join(model, "config.json"), "utf8")).tie_word_embeddings).toBe(true);
  },
);
