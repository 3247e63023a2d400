/** What training reads of a model's config.json; the rest of the file passes by. */
import { join } from "node:path";
import { z } from "zod";
import type { AddedNorms } from "../onnx/engine.ts";
import { readJson } from "./json-file.ts";
import type { MediaKind } from "./media-kind.ts";

const tokenIds = z.union([z.int(), z.array(z.int())]).nullish();

/** A side in pixels, which some models state for height and width; undefined where these differ. */
export const side = z
  .union([z.int().positive(), z.array(z.int().positive()).min(1)])
  .nullish()
  .transform((value) => {
    if (!Array.isArray(value)) return value ?? undefined;
    return value.every((one) => one === value[0]) ? value[0] : undefined;
  });

const heads = {
  head_dim: z.int().positive().nullish(),
  hidden_size: z.int().positive().nullish(),
  num_attention_heads: z.int().positive().nullish(),
};

export const modelConfig = z.object({
  model_type: z.string().default(""),
  architectures: z.array(z.string()).nullish(),
  max_position_embeddings: z.int().positive().nullish(),
  eos_token_id: tokenIds,
  pad_token_id: z.int().nullish(),
  ...heads,
  image_token_id: z.int().nullish(),
  image_token_index: z.int().nullish(),
  audio_token_id: z.int().nullish(),
  audio_token_index: z.int().nullish(),
  image_seq_length: z.int().positive().nullish(),
  scale_factor: z.number().positive().nullish(),
  vision_feature_select_strategy: z.string().nullish(),
  id2label: z.record(z.string(), z.string()).nullish(),
  text_config: z
    .object({
      model_type: z.string().default(""),
      max_position_embeddings: z.int().positive().nullish(),
      eos_token_id: tokenIds,
      pad_token_id: z.int().nullish(),
      ...heads,
    })
    .nullish(),
  vision_config: z.object({ image_size: side, patch_size: side }).nullish(),
});

export type ModelConfig = z.output<typeof modelConfig>;

export function readModelConfig(directory: string): Promise<ModelConfig> {
  return readJson(join(directory, "config.json"), modelConfig);
}

/** "ForCausalLM" and "ForConditionalGeneration" generate text, the others name a class. */
export type Task = "generation" | "text-classification" | "image-classification";

export function taskOf(config: ModelConfig): Task {
  const architecture = config.architectures?.[0] ?? "";
  if (architecture.endsWith("ForSequenceClassification")) return "text-classification";
  if (architecture.endsWith("ForImageClassification")) return "image-classification";
  return "generation";
}

/** Tokens that the positions of the model reach, undefined where the file does not say. */
export function contextLength(config: ModelConfig): number | undefined {
  return config.text_config?.max_position_embeddings ?? config.max_position_embeddings ?? undefined;
}

/** Width of an attention head of the decoder, undefined where the file does not say. */
export function headSize(config: ModelConfig): number | undefined {
  const { head_dim: stated, hidden_size: width, num_attention_heads: count } = config.text_config ?? config;
  return stated ?? (width && count ? width / count : undefined);
}

/** Model types whose norms scale with 1 + weight, by what the Python library's modeling files do. */
const ADDED_NORMS: Readonly<Record<string, AddedNorms>> = {
  gemma: "without bias",
  gemma2: "without bias",
  gemma3: "without bias",
  gemma3_text: "without bias",
  nemotron: "all",
  recurrent_gemma: "without bias",
  vaultgemma: "without bias",
};

export function addedNorms(config: {
  readonly model_type: string;
  readonly text_config?: { readonly model_type: string } | null | undefined;
}): AddedNorms | undefined {
  return ADDED_NORMS[config.model_type] ?? ADDED_NORMS[config.text_config?.model_type ?? ""];
}

/** Model types with linear layers whose weight the Python library keeps as [in, out] (its Conv1D), and their names. */
const TURNED_LINEARS = /(^|\.)(c_attn|q_attn|c_proj|c_fc)$/;
const TURNING = new Set(["decision_transformer", "gpt2", "imagegpt", "openai-gpt"]);

/** Which layers of the model have such a weight, by their paths. GPT-BigCode and Qwen have the names, but not the layout. */
export function turnedLinears(config: Pick<ModelConfig, "model_type" | "text_config">): RegExp | undefined {
  const types = [config.model_type, config.text_config?.model_type ?? ""];
  return types.some((type) => TURNING.has(type)) ? TURNED_LINEARS : undefined;
}

/** The token whose embedding gives way to a feature vector of the kind. */
export function mediaTokenId(config: ModelConfig, kind: MediaKind): number | undefined {
  return config[`${kind}_token_id`] ?? config[`${kind}_token_index`] ?? undefined;
}
