/**
 * PEFT directories: adapter_config.json, adapter_model.safetensors and a README.md for whoever finds them.
 *
 * PEFT reads what we write, and we read what PEFT writes. The hash of the base model, which adapter_config.json has no
 * key for, lies in the metadata of the safetensors file.
 *
 * Layout: https://huggingface.co/docs/peft/developer_guides/checkpoint
 */
import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { FedloomError, messageOf } from "../base/errors.ts";
import { SHA256_HEX } from "../base/hash.ts";
import type { Adapter, AdapterConfig } from "./adapter.ts";
import { checkAdapter } from "./check-adapter.ts";
import { withoutCore } from "./core.ts";
import { replaceFile, replaceWithCopy } from "./durable-file.ts";
import { type CardFacts, modelCard } from "./model-card.ts";
import { formatPeftConfig, MAX_CONFIG_BYTES, parsePeftConfig } from "./peft-config.ts";
import {
  layoutOf,
  PYTORCH_METADATA,
  saveSafetensors,
  viewSafetensors,
  writeSafetensors,
} from "./safetensors.ts";
import { createHeaderReader } from "./safetensors-header.ts";

export const CONFIG_FILE = "adapter_config.json";
export const MODEL_FILE = "adapter_model.safetensors";

/** All clients of a fleet are handed the same adapter, and each decodes it. */
const headerOf = createHeaderReader();

/** The two files of an adapter, as they lie on disk and travel. */
export interface AdapterFiles {
  readonly config: Uint8Array;
  readonly model: Uint8Array;
}

/** Under this key of its metadata an adapter's safetensors file names the base model. */
export const BASE_KEY = "fedloom.base";

/** Equal adapters give equal bytes. */
export function encodeAdapter({ config, tensors }: Adapter): AdapterFiles {
  return {
    config: formatPeftConfig(config),
    model: writeSafetensors(tensors, metadataOf(config)),
  };
}

/** What an adapter's safetensors file says beside its tensors. */
export function metadataOf(config: AdapterConfig): Record<string, string> {
  return { ...PYTORCH_METADATA, ...baseMetadata(config) };
}

/** What the metadata of an adapter's safetensors file say of the base model. */
export function baseMetadata({ base }: AdapterConfig): Record<string, string> {
  return base === "" ? {} : { [BASE_KEY]: base };
}

/**
 * The tensors lie over `model` itself wherever they can.
 *
 * @param what what messages call the adapter: a directory, or "client …"
 * @throws FedloomError F3001 to F3003 for the tensors, F3006 and F3007 for the configuration and how both fit
 */
export function decodeAdapter({ config, model }: AdapterFiles, what: string): Adapter {
  const file = viewSafetensors(model, `${MODEL_FILE} of ${what}`, headerOf);
  const base = file.metadata[BASE_KEY] ?? "";
  const adapter: Adapter = {
    config: parsePeftConfig(config, what, SHA256_HEX.test(base) ? base : ""),
    tensors: new Map(file.names.map((name) => [name, file.view(name)])),
  };
  checkAdapter(adapter, what);
  return adapter;
}

/** @throws FedloomError F3004 for a file that is missing, and what `decodeAdapter` throws */
export function readPeft(directory: string): Adapter {
  if (existsSync(join(directory, "adapter_model.bin")) && !existsSync(join(directory, MODEL_FILE))) {
    throw new FedloomError(
      "F3007",
      `Cannot use the adapter of "${directory}": it has adapter_model.bin; save it again with safe_serialization=True`,
      { directory },
    );
  }
  return decodeAdapter(
    {
      config: readFile(join(directory, CONFIG_FILE), MAX_CONFIG_BYTES),
      model: readFile(join(directory, MODEL_FILE)),
    },
    `"${directory}"`,
  );
}

/**
 * Makes the directory where it is missing; each file replaces its predecessor as a whole. One tensor is looked at at a time.
 *
 * @returns the SHA-256 of the tensors' file
 * @throws FedloomError F3005
 */
export function writePeft(directory: string, adapter: Adapter, facts: CardFacts = {}): string {
  writeBesideModel(directory, adapter, facts);
  // PEFT knows factors alone: what lies on disk is the adapter with its cores folded in.
  const { config, tensors } = withoutCore(adapter);
  const read = (name: string) => tensors.get(name)!;
  return saveSafetensors(join(directory, MODEL_FILE), layoutOf(tensors), read, metadataOf(config)).sha256;
}

/**
 * The same for an adapter whose tensors lie in a file already, as `writePeft` would write them: without a core.
 *
 * @throws FedloomError F3005
 */
export async function copyPeft(directory: string, adapter: Adapter, model: string): Promise<void> {
  writeBesideModel(directory, adapter, {});
  await replaceWithCopy(join(directory, MODEL_FILE), model);
}

function writeBesideModel(directory: string, adapter: Adapter, facts: CardFacts): void {
  try {
    mkdirSync(directory, { recursive: true });
  } catch (cause) {
    throw new FedloomError(
      "F3005",
      `Cannot write "${directory}": ${messageOf(cause)}`,
      { directory },
      { cause },
    );
  }
  const text = formatPeftConfig(adapter.config);
  replaceFile(join(directory, "README.md"), (write) => write(Buffer.from(modelCard(adapter, facts))));
  replaceFile(join(directory, CONFIG_FILE), (write) => write(text));
}

function readFile(path: string, limitBytes = Number.POSITIVE_INFINITY): Uint8Array {
  try {
    // A file beyond the limit is cut there and refused by the parser, which knows the words for it.
    return statSync(path).size > limitBytes ? new Uint8Array(limitBytes + 1) : readFileSync(path);
  } catch (cause) {
    throw new FedloomError(
      "F3004",
      `Cannot read "${path}" of an adapter: ${messageOf(cause)}`,
      { path },
      { cause },
    );
  }
}
