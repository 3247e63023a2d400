/** A run's global adapter as the files of a PEFT directory. */

import { modelCard } from "../../adapters/model-card.ts";
import { CONFIG_FILE, decodeAdapter, MODEL_FILE } from "../../adapters/peft.ts";
import { FedloomError } from "../../base/errors.ts";
import type { RunEngine } from "../engine.ts";
import type { AdapterRef } from "../records.ts";

export const CARD_FILE = "README.md";

/** @throws FedloomError F4021 for a round whose adapter is not kept or not there yet, F4018 for another file */
export async function adapterFiles(
  engine: RunEngine,
  round: string | undefined,
  file: string,
): Promise<Uint8Array> {
  const { blobs } = engine.parts;
  const ref = adapterOf(engine, round);
  if (file === CONFIG_FILE) return blobs.bytes(ref.config);
  if (file === MODEL_FILE) return blobs.bytes(ref.model);
  if (file === CARD_FILE) {
    const files = { config: await blobs.bytes(ref.config), model: await blobs.bytes(ref.model) };
    return Buffer.from(modelCard(decodeAdapter(files, `run "${engine.run.id}"`), {}));
  }
  throw new FedloomError(
    "F4018",
    `Cannot find "${file}": an adapter has the files ${CONFIG_FILE}, ${MODEL_FILE} and ${CARD_FILE}`,
  );
}

function adapterOf({ run }: RunEngine, round: string | undefined): AdapterRef {
  const found =
    round === undefined ? run.global : run.kept.find((kept) => String(kept.round) === round)?.global;
  if (found !== undefined) return found;
  const rounds = run.kept.map((kept) => kept.round).join(", ");
  throw new FedloomError(
    "F4021",
    `Cannot hand out the adapter of round ${round ?? run.number} of run "${run.id}": kept are ${rounds === "" ? "none yet" : `those of rounds ${rounds}`}`,
    { run: run.id, round },
  );
}
