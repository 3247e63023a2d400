/** A site's key, and what shows that whoever wants a certificate for it has it. */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { type NewKey, NewKeySchema } from "./gen/fedloom/v1/fleet_pb.ts";

/** What is signed: the name is in it, so that a proof for one site is none for another. */
function proofText(clientId: string, publicKeyDer: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`fedloom key 1\0${clientId}\0`), publicKeyDer]);
}

/** A new P-256 key as PEM. It stays where this runs. */
export function newKey(): string {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return privateKey.export({ type: "pkcs8", format: "pem" }).toString();
}

/** The public half of a key, with its proof. @throws Error for what is no key */
export function requestOf(clientId: string, keyPem: string): NewKey {
  const key = createPrivateKey(keyPem);
  const publicKey = createPublicKey(key).export({ type: "spki", format: "der" });
  return create(NewKeySchema, { publicKey, proof: sign("sha256", proofText(clientId, publicKey), key) });
}

/** @returns the key, or undefined where it is no P-256 key or the proof is not its own */
export function provenKey(clientId: string, { publicKey, proof }: NewKey): KeyObject | undefined {
  try {
    const key = createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" });
    if (key.asymmetricKeyDetails?.namedCurve !== "prime256v1") return undefined;
    return verify("sha256", proofText(clientId, publicKey), key, proof) ? key : undefined;
  } catch {
    return undefined; // not a key at all: the caller refuses the peer by name
  }
}
