/** A run's global adapter as the files of a PEFT directory. */

import { modelCard } from "../../adapters/model-card.ts";
import { CONFIG_FILE, encodeAdapter, MODEL_FILE } from "../../adapters/peft.ts";
import { FedloomError } from "../../base/errors.ts";
import type { RunEngine } from "../engine.ts";
import { bestOf, type Kept } from "../run/state.ts";
import { readWhole } from "../work/aggregate.ts";

export const CARD_FILE = "README.md";

/** @throws FedloomError F4021 for a round whose adapter is not kept or not there yet, F4018 for another file */
export async function adapterFiles(
  engine: RunEngine,
  round: string | undefined,
  file: string,
): Promise<Uint8Array> {
  const adapter = await readWhole(engine.parts.blobs, adapterOf(engine, round), `run "${engine.run.id}"`);
  if (file === CONFIG_FILE) return encodeAdapter(adapter).config;
  if (file === MODEL_FILE) return encodeAdapter(adapter).model;
  if (file === CARD_FILE) return Buffer.from(modelCard(adapter, {}));
  throw new FedloomError(
    "F4018",
    `Cannot find "${file}": an adapter has the files ${CONFIG_FILE}, ${MODEL_FILE} and ${CARD_FILE}`,
  );
}

/** @param round a number, or "best" */
function adapterOf({ run }: RunEngine, round: string | undefined): Pick<Kept, "global" | "baseDelta"> {
  const { global, baseDelta, kept } = run;
  const newest = global === undefined ? undefined : { global, ...(baseDelta !== undefined && { baseDelta }) };
  const found =
    round === undefined
      ? newest
      : round === "best"
        ? bestOf(run)
        : kept.find((entry) => String(entry.round) === round);
  if (found !== undefined) return found;
  const rounds = kept.map((entry) => entry.round).join(", ");
  throw new FedloomError(
    "F4021",
    `Cannot hand out the adapter of ${round === "best" ? `the best round (keep.best is ${run.config.keep.best ?? "not set"})` : `round ${round ?? run.number}`} of run "${run.id}": kept are ${rounds === "" ? "none yet" : `those of rounds ${rounds}`}`,
    { run: run.id, round },
  );
}
