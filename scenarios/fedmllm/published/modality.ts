/**
 * Which modalities each row keeps, as the published modality scripts draw them.
 *
 * They visit the client files in the operating system's order, and draws run on from file to file: the order is
 * therefore a parameter here. By name as text ("sorted"), client_10 comes before client_2.
 *
 * Source: FedMLLM, data_gen/gen_data_{hateful,crisismmd}{,_missing,_single,_mix}.py, https://github.com/1xbq1/FedMLLM
 */
import type { Kept } from "../../../data/prompts/multiple-choice.ts";
import { PythonRandom } from "../../cpython/random.ts";
import { RandomState } from "../../numpy/random-state.ts";

export type ModalityScenario =
  | { readonly name: "aligned" }
  /** A share of texts and of images, drawn apart, is missing. */
  | { readonly name: "missing"; readonly rate: number }
  /** So many clients keep images only, the others texts only. The paper calls it cross. */
  | { readonly name: "single"; readonly imageClients: number }
  /** Each client lacks texts, and images, with this chance. The paper calls it hybrid. */
  | { readonly name: "mix"; readonly rate: number };

export interface KeptModalities {
  /** Client x row, in the rows' order. */
  readonly kept: readonly (readonly Kept[])[];
  /** single: in the order drawn. */
  readonly imageClients?: readonly number[];
  /** mix: client x [image, text]. */
  readonly presence?: readonly (readonly [image: number, text: number])[];
}

const BOTH: Kept = { text: true, image: true };
const IMAGE: Kept = { text: false, image: true };
const TEXT: Kept = { text: true, image: false };

/** Client numbers in the order of their files' names as text. */
export function sortedListing(clients: number): number[] {
  const name = (client: number): string => `client_${client}.json`;
  return Array.from({ length: clients }, (_, i) => i).sort((a, b) => (name(a) < name(b) ? -1 : 1));
}

/**
 * @param counts rows of each client
 * @param listing clients in the order in which their files are visited
 */
export function keepModalities(
  scenario: ModalityScenario,
  counts: readonly number[],
  setting: { seed?: number; listing?: readonly number[] } = {},
): KeptModalities {
  const { seed = 42, listing = sortedListing(counts.length) } = setting;
  const python = new PythonRandom(seed);
  const perRow = (draw: (client: number) => Kept): Kept[][] => {
    const kept: Kept[][] = counts.map(() => []);
    for (const client of listing) kept[client] = Array.from({ length: counts[client]! }, () => draw(client));
    return kept;
  };
  switch (scenario.name) {
    case "aligned":
      return { kept: perRow(() => BOTH) };
    case "missing": {
      const limit = 1 - scenario.rate;
      return {
        kept: perRow(() => {
          const text = python.random() < limit;
          return { text, image: python.random() < limit };
        }),
      };
    }
    case "single": {
      const all = Array.from({ length: counts.length }, (_, i) => i);
      const imageClients = python.sample(all, scenario.imageClients);
      return { imageClients, kept: perRow((client) => (imageClients.includes(client) ? IMAGE : TEXT)) };
    }
    case "mix": {
      const presence = drawPresence(new RandomState(seed), counts.length, scenario.rate);
      const kept = perRow((client) => {
        const [image, text] = presence[client]!;
        if (image === 0 && text === 0) return python.random() < 0.5 ? IMAGE : TEXT;
        return { text: text === 1, image: image === 1 };
      });
      return { presence, kept };
    }
    default:
      return scenario satisfies never;
  }
}

/** np.random.binomial(1, 1 - rate, size=(clients, 2)) */
export function drawPresence(numpy: RandomState, clients: number, rate: number): [number, number][] {
  return Array.from({ length: clients }, () => [numpy.binomial(1, 1 - rate), numpy.binomial(1, 1 - rate)]);
}
