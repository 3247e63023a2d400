/**
 * The key of a client's data fingerprints, in its state directory: made once, never sent. With it gone the data looks
 * changed, and nothing else happens.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { replaceSecret } from "../adapters/durable-file.ts";
import { FedloomError, messageOf } from "../base/errors.ts";

const KEY_BYTES = 32;

/** @throws FedloomError F5107 if the key can be neither read nor made, F5111 for a damaged one */
export function dataKeyIn(directory: string): Uint8Array {
  const file = join(directory, "data.key");
  let text: string;
  try {
    if (!existsSync(file)) {
      replaceSecret(file, `${randomBytes(KEY_BYTES).toString("hex")}\n`);
    }
    text = readFileSync(file, "utf8").trim();
  } catch (cause) {
    throw new FedloomError(
      "F5107",
      `Cannot use state directory "${directory}": ${messageOf(cause)}`,
      { directory },
      { cause },
    );
  }
  if (/^[0-9a-f]{64}$/.test(text)) return Buffer.from(text, "hex");
  throw new FedloomError(
    "F5111",
    `Cannot use the key in "${file}": it must be ${2 * KEY_BYTES} hexadecimal digits; remove the file, and the data will look changed to the coordinator once`,
    { file },
  );
}
