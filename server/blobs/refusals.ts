/** What can be wrong with a blob, in the words that all implementations use. */
import { FedloomError } from "../../base/errors.ts";
import type { BlobRef } from "../records.ts";

export function missingBlob(sha256: string): FedloomError {
  return new FedloomError("F4005", `Cannot read blob ${sha256}: it is not there`, { sha256 });
}

export function damagedBlob(sha256: string): FedloomError {
  return new FedloomError(
    "F4005",
    `Cannot read blob ${sha256}: its bytes have another hash, the disk changed them`,
    {
      sha256,
    },
  );
}

export function wrongHash(owner: string, blob: BlobRef, got: string): FedloomError {
  return new FedloomError(
    "F5010",
    `Cannot accept an upload of client "${owner}": its bytes must have the hash ${blob.sha256}, got ${got}`,
    { client: owner, wanted: blob.sha256, got },
  );
}

export function tooLong(owner: string, blob: BlobRef): FedloomError {
  return new FedloomError(
    "F5005",
    `Cannot accept an upload of client "${owner}": it announced ${blob.size} bytes and sent more`,
    { client: owner, size: blob.size },
  );
}

export function checkOffset(owner: string, blob: BlobRef, offset: number, held: number): void {
  if (offset === held) return;
  throw new FedloomError(
    "F5005",
    `Cannot accept an upload of client "${owner}": it must go on at byte ${held}, got an offset of ${offset}`,
    { client: owner, sha256: blob.sha256, held, offset },
  );
}
