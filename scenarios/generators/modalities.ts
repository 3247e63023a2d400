/**
 * Which modalities a client keeps of an example: the benchmark's four scenarios without the quirks of its scripts.
 *
 * Nobody ever keeps nothing; the rates are exact over the whole, not on average; an example never "keeps" what it has not.
 */
import type { Rng } from "../../base/rng.ts";
import type { Modality } from "../../data/example.ts";
import { type Assignment, requireWithin } from "./assignment.ts";

/** Client x example x what is kept, in the assignment's order. */
export type Keep = readonly (readonly (readonly Modality[])[])[];

export type ModalityMask =
  | { readonly name: "aligned" }
  /** This share of examples lacks text, and this share lacks the picture. */
  | { readonly name: "missing"; readonly rate: number }
  /** So many clients keep pictures only, the others text only. */
  | { readonly name: "cross"; readonly imageClients: number }
  /** This share of clients lacks text, and this share lacks pictures. */
  | { readonly name: "hybrid"; readonly rate: number };

const BOTH = ["text", "image"] as const;

/** What is dropped: nothing, text or image. */
type Drop = "text" | "image" | undefined;

/** @throws FedloomError F6001 with the feasible bound */
export function keepOf(mask: ModalityMask, assignment: Assignment, rng: Rng): Keep {
  const clients = assignment.length;
  switch (mask.name) {
    case "aligned":
      return assignment.map((own) => own.map(() => BOTH));
    case "missing": {
      // Text and image are never both dropped, so together they cover at most everything.
      requireWithin("the missing rate (nobody may keep nothing)", mask.rate, 0, 0.5);
      const total = assignment.reduce((sum, own) => sum + own.length, 0);
      const drops = deal(total, mask.rate, rng);
      let at = 0;
      return assignment.map((own) => own.map(() => keepAllBut(drops[at++])));
    }
    case "cross": {
      requireWithin("the number of image-only clients", mask.imageClients, 0, clients);
      const all = Array.from({ length: clients }, (_, i) => i);
      const withImages = new Set(rng.sample(all, mask.imageClients));
      return assignment.map((own, client) =>
        own.map(() => keepAllBut(withImages.has(client) ? "text" : "image")),
      );
    }
    case "hybrid": {
      requireWithin("the missing rate (no client may keep nothing)", mask.rate, 0, 0.5);
      const drops = deal(clients, mask.rate, rng);
      return assignment.map((own, client) => own.map(() => keepAllBut(drops[client])));
    }
    default:
      return mask satisfies never;
  }
}

function keepAllBut(drop: Drop): readonly Modality[] {
  return BOTH.filter((modality) => modality !== drop);
}

/** `count` drops in random order: round(rate·count) texts and as many images, at most all. */
function deal(count: number, rate: number, rng: Rng): Drop[] {
  const each = Math.min(Math.round(rate * count), Math.floor(count / 2));
  const drops: Drop[] = Array.from({ length: count }, (_, i) =>
    i < each ? "text" : i < 2 * each ? "image" : undefined,
  );
  return rng.shuffle(drops);
}
