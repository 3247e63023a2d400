/** What an adapter asks of the engine, read from its tensors. */
import { type Adapter, scaleOf } from "../adapters/adapter.ts";
import { factorPairs, parseName } from "../adapters/tensor-names.ts";
import { FedloomError } from "../base/errors.ts";
import type { LoraSpec } from "./onnx/engine.ts";

export function loraSpecs({ config, tensors }: Adapter): LoraSpec[] {
  return factorPairs(tensors.keys()).map(({ module, a, kind }) => {
    if (kind === "embedding") {
      throw new FedloomError(
        "F2138",
        `Cannot train the adapter: it has factors for the embedding "${module}"; linear layers only can carry them here`,
      );
    }
    return { path: module, rank: tensors.get(a)!.shape[0]!, scale: scaleOf(config, module) };
  });
}

/**
 * Modules that the adapter holds whole. Its tensors tell, not `modulesToSave`: PEFT adds names there that the model
 * may not have.
 */
export function savedModules({ tensors }: Adapter): string[] {
  const whole = [...tensors.keys()].flatMap((name) => {
    const parsed = parseName(name);
    return parsed !== undefined && (parsed.part === "weight" || parsed.part === "bias")
      ? [parsed.module]
      : [];
  });
  return [...new Set(whole)];
}

/** @throws FedloomError F2138 where the adapter was made for another base */
export function assertSameBase({ config }: Adapter, baseHash: string): void {
  if (config.base === "" || config.base === baseHash) return;
  throw new FedloomError(
    "F2138",
    `Cannot use the adapter: it was made for base model ${config.base.slice(0, 12)}, this one is ${baseHash.slice(0, 12)}`,
    { wanted: baseHash, got: config.base },
  );
}
