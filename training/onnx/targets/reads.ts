/** What a graph reads, and which of a model's graphs a module can be in: q_proj of layer 0 is in every tower. */
import type { GraphInput } from "../graph.ts";

/**
 * "media": it takes no tokens, and the names of its inputs do not tell more. "everything": tokens and media, a model in one
 * graph.
 */
export type Reads = "tokens" | "pictures" | "sounds" | "media" | "everything";

export function readsOf(inputs: readonly Pick<GraphInput, "name">[]): Reads {
  const some = (pattern: RegExp): boolean => inputs.some(({ name }) => pattern.test(name));
  const pictures = some(/pixel|image|video/);
  const sounds = some(/^input_(features|values)$|audio|speech|mel/);
  if (some(/^(input_ids|inputs_embeds)$/))
    return some(/^(pixel_values|input_features|input_values)/) ? "everything" : "tokens";
  if (pictures) return "pictures";
  return sounds ? "sounds" : "media";
}

const PICTURES = /vision|visual|image|img|video|(?:^|\.)(?:vit|siglip|clip|dinov\d|sam|vpm)(?:_[a-z]+)?\./;
const SOUNDS = /audio|speech|sound|(?:^|\.)(?:whisper|apm)\./;
/** Between a tower and the decoder. */
const BETWEEN =
  /connector|projector|aligner|resampler|perceiver|abstractor|qformer|tower|language_projection/;
const MEDIA = new RegExp([PICTURES, SOUNDS, BETWEEN].map(({ source }) => source).join("|"));
const TEXT_ROOTS = new Set(["model", "language_model", "text_model", "lm_head", "transformer"]);
/** The decoder inside a model that has a name of its own before it: "thinker.model.layers", "llm.model.layers". */
const TEXT_INSIDE = /\.(?:model|language_model|text_model)\.(?:layers|h)\.\d/;

/** Whether an adapter's path can belong to a graph at all. */
export function belongsTo(path: string, reads: Reads): boolean {
  if (reads === "everything") return true;
  if (!MEDIA.test(path))
    return reads === "tokens" || !(TEXT_ROOTS.has(path.split(".")[0]!) || TEXT_INSIDE.test(path));
  const [pictures, sounds] = [PICTURES.test(path), SOUNDS.test(path)];
  if (reads === "pictures") return pictures || !sounds;
  if (reads === "sounds") return sounds || !pictures;
  return reads === "media";
}
