/** The gate that every adapter from outside passes: its tensors are those that its configuration announces. */
import { FedloomError } from "../base/errors.ts";
import { type Adapter, type AdapterConfig, isSaved, isTarget, rankOf } from "./adapter.ts";
import { isFloat } from "./cast.ts";
import type { Tensor } from "./tensor.ts";
import { formatName, parseName, type TensorName } from "./tensor-names.ts";

/**
 * Checks the invariants of adapter.ts.
 *
 * Runs the configuration's expressions: see python-pattern.ts on whose.
 *
 * @param what what messages call the adapter
 * @throws FedloomError F3006, F3007
 */
export function checkAdapter({ config, tensors }: Adapter, what: string): void {
  if (tensors.size === 0) throw wrong(what, "it has no tensors");
  for (const [name, tensor] of tensors) {
    const parts = parseName(name);
    if (parts === undefined) {
      throw new FedloomError(
        "F3007",
        `Cannot use the adapter of ${what}: tensor "${name}" is of a kind that is not supported`,
        {
          what,
          tensor: name,
        },
      );
    }
    if (!isFloat(tensor.dtype)) throw wrong(what, `tensor "${name}" must hold floats, got ${tensor.dtype}`);
    if (parts.part === "weight" || parts.part === "bias") checkWhole(config, name, parts, what);
    else {
      const partner = formatName({ ...parts, part: PARTNER[parts.part] });
      if (!tensors.has(partner)) throw wrong(what, `tensor "${name}" lacks its partner "${partner}"`);
      checkFactor(config, name, tensor, parts, what);
    }
  }
}

function checkFactor(
  config: AdapterConfig,
  name: string,
  { shape }: Tensor,
  { module, part }: TensorName,
  what: string,
): void {
  if (!isTarget(config, module)) {
    throw wrong(what, `tensor "${name}" belongs to a module that target_modules does not name`);
  }
  const rank = rankOf(config, module);
  if (part === "lora_R") {
    if (shape.length === 2 && shape[0] === rank && shape[1] === rank) return;
    throw wrong(what, `tensor "${name}" must have shape [${rank}, ${rank}], got [${shape.join(", ")}]`);
  }
  const rankFirst = part === "lora_A" || part === "lora_embedding_A";
  if (shape.length !== 2 || shape[rankFirst ? 0 : 1] !== rank) {
    const wanted = rankFirst ? `[${rank}, …]` : `[…, ${rank}]`;
    throw wrong(what, `tensor "${name}" must have shape ${wanted}, got [${shape.join(", ")}]`);
  }
}

function checkWhole(
  config: AdapterConfig,
  name: string,
  { module, part, baseLayer }: TensorName,
  what: string,
): void {
  const trainedBias = part === "bias" && config.bias === "lora_only" && isTarget(config, module);
  // PEFT saves the untouched weight of an embedding together with its factors.
  const besideFactors = baseLayer && isTarget(config, module);
  if (!trainedBias && !besideFactors && !isSaved(config, module)) {
    throw wrong(what, `tensor "${name}" belongs to a module that modules_to_save does not name`);
  }
}

const PARTNER = {
  lora_A: "lora_B",
  lora_B: "lora_A",
  lora_R: "lora_B",
  lora_embedding_A: "lora_embedding_B",
  lora_embedding_B: "lora_embedding_A",
} as const;

function wrong(what: string, why: string): FedloomError {
  return new FedloomError("F3006", `Cannot use the adapter of ${what}: ${why}`, { what });
}
