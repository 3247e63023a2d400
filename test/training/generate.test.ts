/** Generation with the decoder's cache against generation without, and both against PyTorch's greedy tokens. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { readPeft } from "../../adapters/peft.ts";
import { generateAnew, generateCached, type Speaker } from "../../training/generate.ts";
import { openGenerator } from "../../training/generator.ts";
import { graphsOf } from "../../training/graphs.ts";
import { loraSpecs } from "../../training/lora-specs.ts";
import { headSize } from "../../training/models/model-config.ts";
import { openModelDirectory } from "../../training/models/model-directory.ts";
import type { TextRow } from "../../training/text-rows.ts";

const MODELS = join(import.meta.dirname, "../golden/models");
/** Opening a model and its first sessions takes a second, many times that on a machine whose cores others use. */
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const CASES = [
  { model: "smollm-tiny", graph: "model.onnx", reference: "smollm-tiny" },
  { model: "smollm-tiny-fused", graph: "model.onnx", reference: "smollm-tiny" },
  { model: "smollm-tiny-fused", graph: "model_rotary_op.onnx", reference: "smollm-tiny" },
  { model: "smollm-tiny-q4", graph: "model_q4.onnx", reference: "smollm-tiny-q4" },
  { model: "smolvlm-tiny", graph: "decoder_model_merged.onnx", reference: "smolvlm-tiny" },
  { model: "smolvlm-tiny", graph: "decoder_model_merged_fused.onnx", reference: "smolvlm-tiny" },
  { model: "llava-tiny", graph: "decoder_model_merged.onnx", reference: "llava-tiny" },
  { model: "llava-tiny", graph: "decoder_model_merged_fused.onnx", reference: "llava-tiny" },
];

interface Reference {
  readonly greedy: { readonly generated: readonly number[] } & (
    | { readonly prompt: readonly number[] }
    | { readonly example: number; readonly prompt_length: number }
  );
}

test.each(CASES)("$model/$graph says what PyTorch says", async ({ model, graph, reference }) => {
  const folder = join(MODELS, reference, "reference");
  const adapterName = "r8_a16_all";
  const { greedy }: Reference = JSON.parse(readFileSync(join(folder, adapterName, "result.json"), "utf8"));
  const texts: { ids: number[][] } = JSON.parse(readFileSync(join(folder, "text.json"), "utf8"));
  const prompt =
    "prompt" in greedy ? greedy.prompt : texts.ids[greedy.example]!.slice(0, greedy.prompt_length);
  const directory = await openModelDirectory(join(MODELS, model));
  const decoder = join(MODELS, model, "onnx", graph);
  const generator = await openGenerator(
    { ...directory, graphs: { ...directory.graphs, decoder } },
    { threads: 1 },
  );
  const adapter = await readPeft(join(folder, adapterName, "adapter"));
  const graphs = graphsOf({ threads: 1 });
  try {
    const { learner } = await generator.open(adapter);
    const images = [];
    if ("example" in greedy) {
      const path = join(folder, `images/${greedy.example}.png`);
      images.push(await generator.images!.open({ name: path, read: async () => readFileSync(path) }));
    }
    const row: TextRow = {
      id: "prompt",
      ids: Int32Array.from(prompt),
      length: prompt.length,
      answerFrom: prompt.length,
      touched: { text: true, image: images.length > 0, audio: false },
      media: images,
    };
    const decoding = await graphs.openDecoding(decoder, {
      lora: loraSpecs(adapter),
      headSize: headSize(directory.config),
    });
    // Nothing ends it: the reference has a fixed number of tokens.
    const speaker: Speaker = {
      learner,
      parameters: adapter.tensors,
      signal: undefined,
      endIds: new Set(),
    };
    const count = greedy.generated.length;
    expect(await generateCached(speaker, decoding!, row, count)).toEqual(greedy.generated);
    expect(await generateCached(speaker, decoding!, row, count, 7), "prompt in parts").toEqual(
      greedy.generated,
    );
    expect((await generateAnew(speaker, [row], count))[0]).toEqual(greedy.generated);
  } finally {
    await graphs.close();
    await generator.close();
  }
});
