/** Wrong labels, for studies of robustness: an option other than the true one becomes the answer. */
import { FedloomError } from "../../base/errors.ts";
import type { Rng } from "../../base/rng.ts";
import type { Example } from "../../data/example.ts";
import { requireWithin } from "./assignment.ts";

/** How a class is mistaken: for any other alike, or always for the next one (as when two codes are mixed up). */
export type NoiseKind = "symmetric" | "pair";

/**
 * Changes the answer of exactly round(rate · examples) examples with options.
 *
 * @throws FedloomError F6001 where an example has no two options to confuse
 */
export function withLabelNoise(
  examples: readonly Example[],
  noise: { rate: number; kind: NoiseKind },
  rng: Rng,
): Example[] {
  requireWithin("the noise rate", noise.rate, 0, 1);
  const chosen = new Set(
    rng.fork("chosen").sample([...examples.keys()], Math.round(noise.rate * examples.length)),
  );
  return examples.map((example, index) =>
    chosen.has(index) ? mistaken(example, noise.kind, rng.fork("answer", example.id)) : example,
  );
}

/** The example with a wrong option for its answer. */
export function mistaken(example: Example, kind: NoiseKind, rng: Rng): Example {
  const options = example.options ?? [];
  const truth = options.indexOf(example.turns.at(-1)!.content);
  if (options.length < 2 || truth < 0) {
    throw new FedloomError(
      "F6001",
      `Cannot give example "${example.id}" a wrong label: it needs two or more options and one of them for its answer`,
      { id: example.id },
    );
  }
  const step = kind === "pair" ? 1 : 1 + rng.below(options.length - 1);
  const answer = options[(truth + step) % options.length]!;
  return {
    ...example,
    turns: [...example.turns.slice(0, -1), { role: "assistant", content: answer }],
    label: answer.replace(/^\([A-Z]\) /, ""),
  };
}
