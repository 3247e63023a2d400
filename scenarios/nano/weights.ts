/** The weights of fedloom-nano: their names, shapes and first values. */
import { float32, sizeOf, type Tensor, type TensorSet, tensorSet } from "../../adapters/tensor.ts";
import type { Rng } from "../../base/rng.ts";
import { EMBEDDING, NANO } from "./architecture.ts";

type Start = "zeros" | "ones" | { readonly std: number };

interface WeightSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly start: Start;
}

/** Of every weight the standard deviation is 1 / sqrt(inputs), so that signals keep their size from layer to layer. */
function linear(name: string, inputs: number, outputs: number, bias: boolean, shrink = 1): WeightSpec[] {
  const weight: WeightSpec = {
    name: `${name}.weight`,
    shape: [inputs, outputs],
    start: { std: shrink / Math.sqrt(inputs) },
  };
  return bias ? [weight, { name: `${name}.bias`, shape: [outputs], start: "zeros" }] : [weight];
}

function layerNorm(name: string): WeightSpec[] {
  return [
    { name: `${name}.weight`, shape: [NANO.hidden], start: "ones" },
    { name: `${name}.bias`, shape: [NANO.hidden], start: "zeros" },
  ];
}

function visionSpecs(): WeightSpec[] {
  const { hidden, patch, imageTokens, visionLayers, visionMlp } = NANO;
  const tower = "model.vision_tower";
  // What ends in the residual stream starts smaller, by 1 / sqrt(twice the layers), as GPT-2 did it.
  const shrink = 1 / Math.sqrt(2 * visionLayers);
  return [
    ...linear(`${tower}.embeddings.patch_embedding`, 3 * patch ** 2, hidden, true),
    {
      name: `${tower}.embeddings.position_embedding.weight`,
      shape: [imageTokens, hidden],
      start: { std: 0.02 },
    },
    ...Array.from({ length: visionLayers }, (_, i) => `${tower}.encoder.layers.${i}`).flatMap((layer) => [
      ...layerNorm(`${layer}.layer_norm1`),
      ...["q_proj", "k_proj", "v_proj"].flatMap((part) =>
        linear(`${layer}.self_attn.${part}`, hidden, hidden, true),
      ),
      ...linear(`${layer}.self_attn.out_proj`, hidden, hidden, true, shrink),
      ...layerNorm(`${layer}.layer_norm2`),
      ...linear(`${layer}.mlp.fc1`, hidden, visionMlp, true),
      ...linear(`${layer}.mlp.fc2`, visionMlp, hidden, true, shrink),
    ]),
    ...layerNorm(`${tower}.post_layernorm`),
  ];
}

function decoderSpecs(vocabulary: number): WeightSpec[] {
  const { hidden, layers, mlp } = NANO;
  const shrink = 1 / Math.sqrt(2 * layers);
  const norm = (name: string): WeightSpec => ({ name: `${name}.weight`, shape: [hidden], start: "ones" });
  return [
    // Rows of length 1: as head they give logits of order 1, and the first norm lifts them for the layers.
    { name: EMBEDDING, shape: [vocabulary, hidden], start: { std: 1 / Math.sqrt(hidden) } },
    ...Array.from({ length: layers }, (_, i) => `model.language_model.layers.${i}`).flatMap((layer) => [
      norm(`${layer}.input_layernorm`),
      ...["q_proj", "k_proj", "v_proj"].flatMap((part) =>
        linear(`${layer}.self_attn.${part}`, hidden, hidden, false),
      ),
      ...linear(`${layer}.self_attn.o_proj`, hidden, hidden, false, shrink),
      norm(`${layer}.post_attention_layernorm`),
      ...linear(`${layer}.mlp.gate_proj`, hidden, mlp, false),
      ...linear(`${layer}.mlp.up_proj`, hidden, mlp, false),
      ...linear(`${layer}.mlp.down_proj`, mlp, hidden, false, shrink),
    ]),
    norm("model.language_model.norm"),
  ];
}

/** Fresh weights; each tensor has a generator of its own, so that one more tensor changes no other. */
export function initialWeights(vocabulary: number, rng: Rng): TensorSet {
  const { hidden } = NANO;
  const specs = [
    ...visionSpecs(),
    ...linear("model.multi_modal_projector.linear_1", hidden, NANO.connector, true),
    ...linear("model.multi_modal_projector.linear_2", NANO.connector, hidden, true),
    ...decoderSpecs(vocabulary),
  ];
  return tensorSet(specs.map((spec) => [spec.name, startOf(spec, rng.fork(spec.name))]));
}

function startOf({ shape, start }: WeightSpec, rng: Rng): Tensor {
  const data = new Float32Array(sizeOf(shape));
  if (start === "ones") data.fill(1);
  else if (start !== "zeros") for (let i = 0; i < data.length; i++) data[i] = start.std * rng.normal();
  return float32(shape, data);
}

/** Weights of the picture's side, which pretraining freezes after its first stage. */
export const isVision = (name: string): boolean => name.startsWith("model.vision_tower.");
