/**
 * Digits and short words as sprites, small enough for one cell of a scene: digits of 5 x 7 dots at twice their
 * size, letters of 3 x 5 dots at twice their height.
 */
import type { Sprite } from "./sprites.ts";

/** In the order of their values; each is called by its word. */
export const DIGITS = [
  "zero",
  "one",
  "two",
  "three",
  "four",
  "five",
  "six",
  "seven",
  "eight",
  "nine",
] as const;
export type Digit = (typeof DIGITS)[number];

/** Words to be read. Several differ in one letter only, so that none is known by its outline alone. */
export const WORDS = [
  "cat",
  "hat",
  "cap",
  "cup",
  "sun",
  "bus",
  "box",
  "dog",
  "pen",
  "hen",
  "map",
  "owl",
  "bird",
  "bell",
  "ball",
  "milk",
] as const;
export type Word = (typeof WORDS)[number];

const DIGIT_ROWS: Readonly<Record<Digit, string>> = {
  zero: ".###. #...# #...# #...# #...# #...# .###.",
  one: "..#.. .##.. ..#.. ..#.. ..#.. ..#.. .###.",
  two: ".###. #...# ....# ...#. ..#.. .#... #####",
  three: "####. ....# ....# .###. ....# ....# ####.",
  four: "...#. ..##. .#.#. #..#. ##### ...#. ...#.",
  five: "##### #.... ####. ....# ....# #...# .###.",
  six: "..##. .#... #.... ####. #...# #...# .###.",
  seven: "##### ....# ...#. ..#.. ..#.. ..#.. ..#..",
  eight: ".###. #...# #...# .###. #...# #...# .###.",
  nine: ".###. #...# #...# .#### ....# ...#. .##..",
};

/** Capitals, as far as the words need them. */
const LETTER_ROWS: Readonly<Record<string, string>> = {
  a: ".#. #.# ### #.# #.#",
  b: "##. #.# ##. #.# ##.",
  c: ".## #.. #.. #.. .##",
  d: "##. #.# #.# #.# ##.",
  e: "### #.. ##. #.. ###",
  g: ".## #.. #.# #.# .##",
  h: "#.# #.# ### #.# #.#",
  i: "### .#. .#. .#. ###",
  k: "#.# #.# ##. #.# #.#",
  l: "#.. #.. #.. #.. ###",
  m: "#.# ### ### #.# #.#",
  n: "##. #.# #.# #.# #.#",
  o: ".#. #.# #.# #.# .#.",
  p: "##. #.# ##. #.. #..",
  r: "##. #.# ##. ##. #.#",
  s: ".## #.. .#. ..# ##.",
  t: "### .#. .#. .#. .#.",
  u: "#.# #.# #.# #.# ###",
  w: "#.# #.# ### ### #.#",
  x: "#.# #.# .#. #.# #.#",
};

const enlarged = (rows: readonly string[], across: number, down: number): Sprite => {
  const wide = rows.map((row) => [...row].flatMap((mark) => Array<boolean>(across).fill(mark === "#")));
  return {
    width: wide[0]!.length,
    painted: wide.flatMap((row) => Array.from({ length: down }, () => row).flat()),
  };
};

export function digitSprite(digit: Digit): Sprite {
  return enlarged(DIGIT_ROWS[digit].split(" "), 2, 2);
}

/** Letters side by side with one empty column between them. */
export function wordSprite(word: Word): Sprite {
  const letters = [...word].map((letter) => LETTER_ROWS[letter]!.split(" "));
  const rows = letters[0]!.map((_, row) => letters.map((letter) => letter[row]).join("."));
  return enlarged(rows, 1, 2);
}
