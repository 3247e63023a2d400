import { readFileSync } from "node:fs";

/** The version in package.json. */
export function packageVersion(): string {
  // The file lies one level up in the sources and two levels up in what tsc emits.
  for (const place of ["../package.json", "../../package.json"]) {
    try {
      const parsed: unknown = JSON.parse(readFileSync(new URL(place, import.meta.url), "utf8"));
      if (typeof parsed === "object" && parsed !== null && "version" in parsed) return String(parsed.version);
    } catch {
      // not here: the next place
    }
  }
  return "unknown";
}
