/** An adapter that memory should not hold: its tensors are read from their file when somebody looks at one. */
import { SHA256_HEX } from "../base/hash.ts";
import type { Adapter } from "./adapter.ts";
import { checkAdapter } from "./check-adapter.ts";
import { BASE_KEY } from "./peft.ts";
import { parsePeftConfig } from "./peft-config.ts";
import { openSafetensors, type SafetensorsFile } from "./safetensors.ts";
import { createHeaderReader } from "./safetensors-header.ts";
import type { Tensor, TensorData } from "./tensor.ts";

/**
 * As `decodeAdapter`, with one tensor in memory at a time: the one that was looked at last. The file is open only while
 * it is read, so that nobody has to close it; it must stay what it is.
 *
 * @param path of the adapter's safetensors file
 * @throws FedloomError as `decodeAdapter`, and F3004 for a file that cannot be read, also later
 */
export function adapterOnDisk(
  config: Uint8Array,
  path: string,
  what: string,
): { readonly adapter: Adapter; readonly file: SafetensorsFile } {
  const file = openedToRead(path);
  const base = file.metadata[BASE_KEY] ?? "";
  let last: { readonly name: string; readonly data: TensorData } | undefined;
  const dataOf = (name: string): TensorData => {
    if (last?.name !== name) last = { name, data: file.read(name).data };
    return last.data;
  };
  const tensor = (name: string): Tensor => {
    const { dtype, shape } = file.info(name);
    return {
      dtype,
      shape,
      get data() {
        return dataOf(name);
      },
    };
  };
  const adapter: Adapter = {
    config: parsePeftConfig(config, what, SHA256_HEX.test(base) ? base : ""),
    tensors: new Map(file.names.map((name) => [name, tensor(name)])),
  };
  checkAdapter(adapter, what);
  return { adapter, file };
}

function openedToRead(path: string): SafetensorsFile {
  const headerOf = createHeaderReader(); // read again with each tensor, and understood once
  const { names, metadata, info, has, close } = openSafetensors(path, headerOf);
  close();
  const reading = <T>(act: (file: SafetensorsFile) => T): T => {
    const file = openSafetensors(path, headerOf);
    try {
      return act(file);
    } finally {
      file.close();
    }
  };
  return {
    ...{ names, metadata, info, has },
    read: (name) => reading((file) => file.read(name)),
    view: (name) => reading((file) => file.read(name)),
    readInto: (name, byteFrom, target) => reading((file) => file.readInto?.(name, byteFrom, target)),
    close: () => undefined,
  };
}
