import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The small model that sees and reads: the demo's, and that of replays where no other is named. */
export const embeddedModelDirectory = (): string => shipped("fedloom-nano");

/** A model with random weights, tiny enough to try a runtime on. */
export const tinyModelDirectory = (): string => shipped("smolvlm-tiny");

function shipped(name: string): string {
  // assets/ lies two levels up in the sources and three levels up in what tsc emits.
  const places = [`../../assets/models/${name}`, `../../../assets/models/${name}`].map((place) =>
    fileURLToPath(new URL(place, import.meta.url)),
  );
  return places.find((place) => existsSync(place)) ?? places[0]!;
}
