/** File systems over a network promise neither locks nor syncs that a journal can rest on. */
import { statfsSync } from "node:fs";
import { FedloomError } from "../../base/errors.ts";

/** `f_type` of statfs(2) on Linux: https://man7.org/linux/man-pages/man2/statfs.2.html */
const NETWORK: ReadonlyMap<number, string> = new Map([
  [0x6969, "NFS"],
  [0x517b, "SMB"],
  [0xff534d42, "CIFS"],
  [0xfe534d42, "SMB2"],
  [0x5346414f, "AFS"],
  [0x73757245, "Coda"],
  [0x564c, "NCP"],
  [0x00c36400, "Ceph"],
  [0x0bd00bd0, "Lustre"],
  [0x47504653, "GPFS"],
]);

/** @throws FedloomError F4003 for a directory on a network file system (known on Linux only) */
export function refuseNetworkDisk(directory: string, typeOf = fileSystemType): void {
  const name = NETWORK.get(typeOf(directory) >>> 0);
  if (name === undefined) return;
  throw new FedloomError(
    "F4003",
    `Cannot keep state in "${directory}": it lies on a network file system (${name}), which cannot lock and sync reliably; use a directory on a local disk`,
    { directory, fileSystem: name },
  );
}

function fileSystemType(directory: string): number {
  return process.platform === "linux" ? statfsSync(directory).type : 0;
}
