/** Writes fedloom-nano as a model directory, in the layout that image-text models have on the hub. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TensorSet } from "../../adapters/tensor.ts";
import { HEAD_DIM, NANO } from "./architecture.ts";
import { IMAGE_MEAN, IMAGE_STD, idOf } from "./batch.ts";
import { decoderGraph, embedTokensGraph, type Storage, visionEncoderGraph } from "./graphs.ts";
import { ASSISTANT, END, IMAGE, USER } from "./lesson.ts";
import type { NanoTokenizer } from "./nano-codec.ts";

const GRAPHS = {
  vision_encoder: visionEncoderGraph,
  embed_tokens: embedTokensGraph,
  decoder_model_merged: decoderGraph,
} as const;

const PRECISIONS: readonly (readonly [suffix: string, storage: Storage])[] = [
  ["", "F32"],
  ["_fp16", "F16"],
];

/** As lessons write an exchange; a system turn is set in front in the same manner. */
const CHAT_TEMPLATE = [
  "{% for message in messages %}",
  "{% if message['role'] == 'user' %}",
  USER,
  "{% elif message['role'] == 'assistant' %}",
  ASSISTANT,
  "{% else %}<|system|>{% endif %}",
  " {{ message['content'] }}",
  END,
  "{% endfor %}",
  "{% if add_generation_prompt %}",
  ASSISTANT,
  "{% endif %}",
].join("");

export function publish(folder: string, weights: TensorSet, tokenizer: NanoTokenizer, card: string): void {
  mkdirSync(join(folder, "onnx"), { recursive: true });
  for (const [suffix, storage] of PRECISIONS) {
    for (const [name, graph] of Object.entries(GRAPHS)) {
      writeFileSync(join(folder, "onnx", `${name}${suffix}.onnx`), graph(weights, storage));
    }
  }
  const json = (file: string, content: object): void => {
    writeFileSync(join(folder, file), `${JSON.stringify(content, null, 2)}\n`);
  };
  json("config.json", modelConfig(tokenizer.vocabulary));
  json("tokenizer.json", tokenizer.json);
  json("tokenizer_config.json", {
    tokenizer_class: "PreTrainedTokenizerFast",
    eos_token: END,
    pad_token: "<|pad|>",
    model_max_length: NANO.positions,
    clean_up_tokenization_spaces: false,
  });
  json("generation_config.json", { eos_token_id: idOf(END), pad_token_id: 0 });
  json("preprocessor_config.json", {
    image_processor_type: "SiglipImageProcessor",
    processor_class: "LlavaProcessor",
    do_resize: true,
    size: { height: NANO.imageSide, width: NANO.imageSide },
    resample: 2,
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: [IMAGE_MEAN, IMAGE_MEAN, IMAGE_MEAN],
    image_std: [IMAGE_STD, IMAGE_STD, IMAGE_STD],
    do_convert_rgb: true,
  });
  json("processor_config.json", {
    processor_class: "LlavaProcessor",
    image_token: IMAGE,
    patch_size: NANO.patch,
    vision_feature_select_strategy: "full",
    num_additional_image_tokens: 0,
  });
  writeFileSync(join(folder, "chat_template.jinja"), CHAT_TEMPLATE);
  writeFileSync(join(folder, "README.md"), card);
}

function modelConfig(vocabulary: number): object {
  return {
    architectures: ["LlavaForConditionalGeneration"],
    model_type: "llava",
    image_token_index: idOf(IMAGE),
    image_seq_length: NANO.imageTokens,
    projector_hidden_act: "gelu",
    multimodal_projector_bias: true,
    vision_feature_layer: -1,
    vision_feature_select_strategy: "full",
    tie_word_embeddings: true,
    text_config: {
      model_type: "llama",
      vocab_size: vocabulary,
      hidden_size: NANO.hidden,
      intermediate_size: NANO.mlp,
      num_hidden_layers: NANO.layers,
      num_attention_heads: NANO.heads,
      num_key_value_heads: NANO.heads,
      head_dim: HEAD_DIM,
      hidden_act: "silu",
      max_position_embeddings: NANO.positions,
      rms_norm_eps: NANO.rmsEps,
      rope_theta: NANO.ropeTheta,
      attention_bias: false,
      mlp_bias: false,
      eos_token_id: idOf(END),
      pad_token_id: 0,
      tie_word_embeddings: true,
    },
    vision_config: {
      model_type: "siglip_vision_model",
      image_size: NANO.imageSide,
      patch_size: NANO.patch,
      num_channels: 3,
      hidden_size: NANO.hidden,
      intermediate_size: NANO.visionMlp,
      num_hidden_layers: NANO.visionLayers,
      num_attention_heads: NANO.heads,
      hidden_act: "gelu",
      layer_norm_eps: NANO.layerNormEps,
    },
  };
}
