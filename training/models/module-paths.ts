/**
 * Module paths of a whole model from those of one of its graphs. An export of a part names its modules from its
 * own root ("model.layers.0.self_attn.q_proj"); an adapter names them from the whole model's
 * ("model.text_model.layers.0.self_attn.q_proj"), or PEFT would not find them.
 */
import type { ModelConfig } from "./model-config.ts";

export type Part = "decoder" | "connector" | "vision" | "audio";

interface Roots {
  /** Replaces the decoder graph's "model". */
  readonly decoder: string;
  /** Stands before paths of the vision graph that begin with none of the others. */
  readonly vision: string;
  /** First name of the connector's paths in the encoders' graphs. */
  readonly connector: string;
}

const IDEFICS: Roots = { decoder: "model.text_model", vision: "model.vision_model", connector: "connector" };

const ROOTS: Readonly<Record<string, Roots>> = { idefics2: IDEFICS, idefics3: IDEFICS, smolvlm: IDEFICS };

/** LLaVA and what is built like it. */
const OTHERS: Roots = {
  decoder: "model.language_model",
  vision: "model.vision_tower",
  connector: "multi_modal_projector",
};

/** Stands before paths of the audio graph, as `vision` before the vision graph's. */
const AUDIO = "model.audio_tower";

export interface ModuleName {
  /** Path in the whole model. */
  readonly path: string;
  readonly part: Part;
}

/** Builders of fused graphs write "attn" where every model with layers of that name has "self_attn". */
const selfAttention = (path: string): string =>
  path.replace(/^(model\.layers\.\d+)\.attn\.([qkvo]_proj)$/, "$1.self_attn.$2");

/** @param graph "whole" for a model in one graph, whose paths are the model's own; "embed" for the token embeddings' */
export function moduleName(
  config: Pick<ModelConfig, "model_type">,
  graph: "whole" | "decoder" | "vision" | "audio" | "embed",
  path: string,
): ModuleName {
  if (graph === "whole") return { path: selfAttention(path), part: "decoder" };
  const roots = ROOTS[config.model_type] ?? OTHERS;
  // An export of the embeddings alone has lost what they belong to.
  if (graph === "embed") return { path: `${roots.decoder}.${path.split(".").at(-1)}`, part: "decoder" };
  if (graph === "decoder") {
    return {
      path: path.startsWith("model.") ? roots.decoder + selfAttention(path).slice("model".length) : path,
      part: "decoder",
    };
  }
  const bare = path.startsWith("model.") ? path.slice("model.".length) : path;
  if (bare.startsWith(`${roots.connector}.`)) return { path: `model.${bare}`, part: "connector" };
  const root = graph === "audio" ? AUDIO : roots.vision;
  const tower = root.slice("model.".length);
  return { path: bare.startsWith(`${tower}.`) ? `model.${bare}` : `${root}.${bare}`, part: graph };
}
