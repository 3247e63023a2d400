/** PEFT's names of tensors, taken apart and put together. */

/** Every name in an adapter file begins so: PeftModel.base_model is a LoraModel whose .model is the user's. */
const PREFIX = "base_model.model.";

export type Part =
  | "lora_A"
  | "lora_B"
  | "lora_R"
  | "lora_embedding_A"
  | "lora_embedding_B"
  | "weight"
  | "bias";

export interface TensorName {
  /** Path in the base model: "model.layers.0.self_attn.q_proj". */
  readonly module: string;
  /** `weight` and `bias` are whole parameters that replace the base's. */
  readonly part: Part;
  /** The whole parameter of a module that carries factors as well. */
  readonly baseLayer: boolean;
}

/** From the longest ending to the shortest: the first that fits tells the part. */
const ENDINGS: readonly { readonly ending: string; readonly part: Part; readonly baseLayer: boolean }[] = [
  { ending: ".base_layer.weight", part: "weight", baseLayer: true },
  { ending: ".base_layer.bias", part: "bias", baseLayer: true },
  { ending: ".lora_A.weight", part: "lora_A", baseLayer: false },
  { ending: ".lora_B.weight", part: "lora_B", baseLayer: false },
  { ending: ".lora_R.weight", part: "lora_R", baseLayer: false },
  { ending: ".lora_embedding_A", part: "lora_embedding_A", baseLayer: false },
  { ending: ".lora_embedding_B", part: "lora_embedding_B", baseLayer: false },
  { ending: ".weight", part: "weight", baseLayer: false },
  { ending: ".bias", part: "bias", baseLayer: false },
];

/** @returns undefined for a name that is none of an adapter's that we know */
export function parseName(name: string): TensorName | undefined {
  if (!name.startsWith(PREFIX)) return undefined;
  const rest = name.slice(PREFIX.length);
  const found = ENDINGS.find(({ ending }) => rest.endsWith(ending) && rest.length > ending.length);
  if (found === undefined) return undefined;
  const module = rest.slice(0, -found.ending.length);
  // "….lora_A.default.weight": a name of PEFT's inner state, which it strips when it saves.
  if (/(^|\.)(lora_|modules_to_save|base_layer)/.test(module)) return undefined;
  return { module, part: found.part, baseLayer: found.baseLayer };
}

export function formatName({ module, part, baseLayer }: TensorName): string {
  return `${PREFIX}${module}${ENDINGS.find((known) => known.part === part && known.baseLayer === baseLayer)!.ending}`;
}

/** Name of a factor of a linear layer. */
export function factorName(modulePath: string, part: "lora_A" | "lora_B" | "lora_R"): string {
  return formatName({ module: modulePath, part, baseLayer: false });
}

/** The two factors of one module, by the names of their tensors. */
export interface FactorPair {
  readonly module: string;
  readonly a: string;
  readonly b: string;
  readonly kind: "linear" | "embedding";
}

/** The modules with factors among these names, in the order in which their `a` comes; a factor without its partner is left out. */
export function factorPairs(tensorNames: Iterable<string>): FactorPair[] {
  const known = new Set(tensorNames);
  const pairs: FactorPair[] = [];
  for (const a of known) {
    const name = parseName(a);
    if (name?.part !== "lora_A" && name?.part !== "lora_embedding_A") continue;
    const embedding = name.part === "lora_embedding_A";
    const b = formatName({ ...name, part: embedding ? "lora_embedding_B" : "lora_B" });
    if (known.has(b)) pairs.push({ module: name.module, a, b, kind: embedding ? "embedding" : "linear" });
  }
  return pairs;
}
