import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The model that is shipped with the package: tiny, with random weights. */
export function demoModelDirectory(): string {
  // assets/ lies two levels up in the sources and three levels up in what tsc emits.
  const places = ["../../assets/models/smolvlm-tiny", "../../../assets/models/smolvlm-tiny"].map((place) =>
    fileURLToPath(new URL(place, import.meta.url)),
  );
  return places.find((place) => existsSync(place)) ?? places[0]!;
}
