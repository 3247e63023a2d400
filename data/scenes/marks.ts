/** What a cell of a scene can hold: a thing, a digit, or a word. All come in all colors. */
import type { Rng } from "../../base/rng.ts";
import { DIGITS, type Digit, digitSprite, WORDS, type Word, wordSprite } from "./glyphs.ts";
import { type Sprite, THING_SPRITES, THINGS, type Thing } from "./sprites.ts";

export type Mark = Thing | Digit | Word;
export const MARKS: readonly Mark[] = [...THINGS, ...DIGITS, ...WORDS];

export const SPRITES: ReadonlyMap<Mark, Sprite> = new Map<Mark, Sprite>([
  ...THING_SPRITES,
  ...DIGITS.map((digit) => [digit, digitSprite(digit)] as const),
  ...WORDS.map((word) => [word, wordSprite(word)] as const),
]);

export type Family = "thing" | "digit" | "word";

const FAMILIES: Readonly<Record<Family, { readonly members: readonly Mark[]; readonly share: number }>> = {
  thing: { members: THINGS, share: 0.6 },
  digit: { members: DIGITS, share: 0.2 },
  word: { members: WORDS, share: 0.2 },
};

export const membersOf = (family: Family): readonly Mark[] => FAMILIES[family].members;

export function familyOf(mark: Mark): Family {
  if (FAMILIES.thing.members.includes(mark)) return "thing";
  return FAMILIES.digit.members.includes(mark) ? "digit" : "word";
}

/** Things come most often; digits and words share the rest. */
export function drawMark(rng: Rng): Mark {
  const at = rng.uniform();
  const { thing, digit } = FAMILIES;
  const family = at < thing.share ? "thing" : at < thing.share + digit.share ? "digit" : "word";
  const members = membersOf(family);
  return members[rng.below(members.length)]!;
}
