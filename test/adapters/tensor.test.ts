import { expect, test } from "vitest";
import { compareNames } from "../../adapters/tensor.ts";
import { createRng } from "../../base/rng.ts";

test("names are compared as their UTF-8 bytes are, whatever they hold", () => {
  const rng = createRng("names");
  // Both sides of each border: ASCII, two and three bytes, behind the surrogates, pairs and halves of pairs.
  const units = [
    "",
    "a",
    "b",
    ".",
    "\u00e9",
    "\u07ff",
    "\u0800",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "\u{1f600}",
    "\u{1d11e}",
    "\ud83d",
    "\ude00",
  ];
  const name = (): string =>
    Array.from({ length: rng.below(4) }, () => units[rng.below(units.length)]!).join("");
  for (let i = 0; i < 20_000; i++) {
    const [a, b] = [name(), name()];
    const wanted = Buffer.compare(Buffer.from(a), Buffer.from(b));
    const shown = JSON.stringify([a, b]);
    // Names that differ in halves of pairs alone have equal bytes; their order is any.
    if (wanted !== 0) expect(Math.sign(compareNames(a, b)), shown).toBe(wanted);
    if (a === b) expect(compareNames(a, b), shown).toBe(0);
  }
});
