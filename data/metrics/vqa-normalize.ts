/**
 * Answers of visual question answering in one spelling, so that "The left lung." and "left lung" are equal.
 *
 * `published` is what the benchmark's evaluation does, a copy of the public VQA evaluation v0.9 with its oddities:
 * a mark next to a blank anywhere deletes all of that mark, digit-comma-digit anywhere deletes all marks, only the
 * first 32 full stops go, and Im stays im. `strict` is the same idea without them.
 *
 * Source: Antol et al. 2015, https://visualqa.org/evaluation; FedMLLM, https://arxiv.org/abs/2411.14717
 */
import { pythonSplit } from "../python/text.ts";

export type NormalForm = "published" | "strict";

export function normalizeVqa(text: string, form: NormalForm): string {
  return form === "published" ? published(text) : strict(text);
}

const MARKS = ';/[]"{}()=+\\_-><@`,?!:';
const DIGIT_COMMA_DIGIT = /\p{Nd},\p{Nd}/u;
/** Python's re.sub took the flag re.UNICODE (32) for its count. */
const MAX_FULL_STOPS = 32;

function published(text: string): string {
  let out = text;
  const deleteAll = DIGIT_COMMA_DIGIT.test(text);
  for (const mark of MARKS) {
    const beside = text.includes(`${mark} `) || text.includes(` ${mark}`);
    out = out.replaceAll(mark, beside || deleteAll ? "" : " ");
  }
  let stops = 0;
  out = out.replaceAll(/\.(?!\p{Nd})/gu, (stop) => (stops++ < MAX_FULL_STOPS ? "" : stop));
  const words = pythonSplit(out.toLowerCase())
    .map((word) => NUMBERS[word] ?? word)
    .filter((word) => !ARTICLES.has(word))
    .map((word) => CONTRACTIONS[word] ?? word);
  return words.join(" ").replaceAll(",", "").replaceAll("x ray", "xray");
}

/** Marks part words, commas between digits go, points stay between digits only, apostrophes go. */
function strict(text: string): string {
  const spaced = text
    .normalize("NFKC")
    .toLowerCase()
    .replaceAll(/(?<=\p{Nd}),(?=\p{Nd}{3})/gu, "")
    .replaceAll(/['’]/g, "")
    .replaceAll(/\.(?!\p{Nd})/gu, "")
    .replaceAll(/[^\p{L}\p{M}\p{N}.%°]+/gu, " ");
  const words = spaced
    .split(" ")
    .filter((word) => word !== "" && !ARTICLES.has(word))
    .map((word) => NUMBERS[word] ?? word);
  return words.join(" ").replaceAll(/\bx ray/g, "xray");
}

const ARTICLES = new Set(["a", "an", "the"]);

const NUMBERS: Readonly<Record<string, string>> = Object.assign(Object.create(null), {
  none: "0",
  zero: "0",
  one: "1",
  two: "2",
  three: "3",
  four: "4",
  five: "5",
  six: "6",
  seven: "7",
  eight: "8",
  nine: "9",
  ten: "10",
});

/** The contractions of the public evaluation, its slips ("somebody'd") included. */
const CONTRACTIONS: Readonly<Record<string, string>> = Object.assign(Object.create(null), {
  "'ow'sat": "'ow's'at",
  "'ows'at": "'ow's'at",
  aint: "ain't",
  arent: "aren't",
  cant: "can't",
  "couldn'tve": "couldn't've",
  couldnt: "couldn't",
  "couldnt've": "couldn't've",
  couldve: "could've",
  didnt: "didn't",
  doesnt: "doesn't",
  dont: "don't",
  "hadn'tve": "hadn't've",
  hadnt: "hadn't",
  "hadnt've": "hadn't've",
  hasnt: "hasn't",
  havent: "haven't",
  "he'dve": "he'd've",
  hed: "he'd",
  "hed've": "he'd've",
  hes: "he's",
  howd: "how'd",
  howll: "how'll",
  hows: "how's",
  isnt: "isn't",
  "it'dve": "it'd've",
  itd: "it'd",
  "itd've": "it'd've",
  itll: "it'll",
  maam: "ma'am",
  "mightn'tve": "mightn't've",
  mightnt: "mightn't",
  "mightnt've": "mightn't've",
  mightve: "might've",
  mustnt: "mustn't",
  mustve: "must've",
  neednt: "needn't",
  notve: "not've",
  oclock: "o'clock",
  oughtnt: "oughtn't",
  "ow's'at": "'ow's'at",
  shant: "shan't",
  "she'dve": "she'd've",
  "shed've": "she'd've",
  "shouldn'tve": "shouldn't've",
  shouldnt: "shouldn't",
  "shouldnt've": "shouldn't've",
  shouldve: "should've",
  "somebody'd": "somebodyd",
  "somebody'dve": "somebody'd've",
  "somebodyd've": "somebody'd've",
  somebodyll: "somebody'll",
  somebodys: "somebody's",
  "someone'dve": "someone'd've",
  someoned: "someone'd",
  "someoned've": "someone'd've",
  someonell: "someone'll",
  someones: "someone's",
  "something'dve": "something'd've",
  somethingd: "something'd",
  "somethingd've": "something'd've",
  somethingll: "something'll",
  thats: "that's",
  "there'dve": "there'd've",
  thered: "there'd",
  "thered've": "there'd've",
  therere: "there're",
  theres: "there's",
  "they'dve": "they'd've",
  theyd: "they'd",
  "theyd've": "they'd've",
  theyll: "they'll",
  theyre: "they're",
  theyve: "they've",
  twas: "'twas",
  wasnt: "wasn't",
  "we'dve": "we'd've",
  "wed've": "we'd've",
  werent: "weren't",
  weve: "we've",
  whatll: "what'll",
  whatre: "what're",
  whats: "what's",
  whatve: "what've",
  whens: "when's",
  whered: "where'd",
  wheres: "where's",
  whereve: "where've",
  "who'dve": "who'd've",
  whod: "who'd",
  "whod've": "who'd've",
  wholl: "who'll",
  whos: "who's",
  whove: "who've",
  whyll: "why'll",
  whyre: "why're",
  whys: "why's",
  wont: "won't",
  "wouldn'tve": "wouldn't've",
  wouldnt: "wouldn't",
  "wouldnt've": "wouldn't've",
  wouldve: "would've",
  "y'all'dve": "y'all'd've",
  "y'alld've": "y'all'd've",
  "y'allll": "y'all'll",
  yall: "y'all",
  "yall'd've": "y'all'd've",
  "yall'll": "y'all'll",
  "you'dve": "you'd've",
  youd: "you'd",
  "youd've": "you'd've",
  youll: "you'll",
  youre: "you're",
  youve: "you've",
});
