import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The model of the demo: tiny, with random weights. */
export const demoModelDirectory = (): string => shipped("smolvlm-tiny");

/** The small model that sees and reads, which replays train where no other is named. */
export const embeddedModelDirectory = (): string => shipped("fedloom-nano");

function shipped(name: string): string {
  // assets/ lies two levels up in the sources and three levels up in what tsc emits.
  const places = [`../../assets/models/${name}`, `../../../assets/models/${name}`].map((place) =>
    fileURLToPath(new URL(place, import.meta.url)),
  );
  return places.find((place) => existsSync(place)) ?? places[0]!;
}
