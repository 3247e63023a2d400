/**
 * The kinds of lessons. Streams put twenty questions behind one picture: they carry the learning, since each
 * picture then gives twenty answers for one encoding. Full questions and the benchmark's long prompts come later.
 */
import type { Rng } from "../../base/rng.ts";
import { MARKS } from "../../data/scenes/marks.ts";
import { drawScan, drawScene, PARTS, PLACES, type Scan, type Scene } from "../../data/scenes/scene.ts";
import { COLOR_NAMES } from "../../data/scenes/sprites.ts";
import { exchange, given, IMAGE, type Lesson, learned, oneOf, type Piece, shown, USER } from "./lesson.ts";
import { absentMark, drawQuery, falseName, NUMBERS, nameOf, placesOf, type Query } from "./queries.ts";
import { ANSWER_WORDS } from "./task-words.ts";

const STREAM_LENGTH = 22;

const terse = ({ terse: question, answer }: Query): Piece[] => [
  given(` ${question}?`),
  learned(` ${answer}\n`),
];

/** A picture and terse questions in a row, without turns. */
export function stream(rng: Rng): Lesson {
  const picture = drawCrowd(rng);
  return { picture, pieces: [given(`${USER} ${IMAGE}\n`), ...questions(picture, rng)] };
}

/** The same after a listing in words instead of a picture. */
export function textStream(rng: Rng): Lesson {
  const scene = drawCrowd(rng);
  return { pieces: [given(`${USER} ${listing(scene)}\n`), ...questions(scene, rng)] };
}

/** Where each thing is, asked of a picture or of a listing: of all questions this is learned last. */
export function placeStream(rng: Rng): Lesson {
  const scene = drawCrowd(rng);
  const asked = rng.shuffle(placesOf(scene)).flatMap(terse);
  if (rng.uniform() < 0.3) return { pieces: [given(`${USER} ${listing(scene)}\n`), ...asked] };
  return { picture: scene, pieces: [given(`${USER} ${IMAGE}\n`), ...asked] };
}

/** Scenes of one thing have too few questions for a stream. */
const drawCrowd = (rng: Rng): Scene => drawScene(rng, 2 + rng.below(3));

function questions(scene: Scene, rng: Rng): Piece[] {
  const asked = new Map<string, Query>();
  // A question that came before is answered by looking back at the text, so repeats teach little about the scene.
  for (let draws = 0; asked.size < STREAM_LENGTH && draws < 4 * STREAM_LENGTH; draws++) {
    const query = drawQuery(scene, rng);
    asked.set(query.terse, query);
  }
  return [...asked.values()].flatMap(terse);
}

/**
 * Options with letters, and look-ups by the word: what option prompts are made of. Words of later tasks come up here
 * too, so that a model has written each of them before it is asked to. Half of the lessons want the letter alone,
 * which puts the loss on what is hard.
 */
export function letterStream(rng: Rng): Lesson {
  const words = rng.sample(LISTED, 2 + rng.below(5));
  const lines = words.map((word, i) => `(${LETTERS[i]}) ${word}\n`).join("");
  const bare = rng.uniform() < 0.5;
  const looks = Array.from({ length: bare ? STREAM_LENGTH : STREAM_LENGTH / 2 }, () => {
    const i = rng.below(words.length);
    return [
      given(` ${words[i]}?`),
      learned(bare ? ` (${LETTERS[i]}` : ` (${LETTERS[i]}) ${words[i]}\n`),
      ...(bare ? [given(")\n")] : []),
    ];
  });
  return { pieces: [given(`${USER} Options:\n${lines}`), ...looks.flat()] };
}

const LISTED = [...new Set([...MARKS, ...COLOR_NAMES, ...ANSWER_WORDS])];
const LETTERS = "ABCDEFGH";

function listing(scene: Scene): string {
  const cells = scene.cells.map((item, i) => `${PLACES[i]} ${item ? nameOf(item) : "nothing"}`);
  return [...cells, ...(scene.texture ? [`texture ${scene.texture}`] : [])].join(", ");
}

/** A caption and four full questions, or a scan's. */
export function dense(rng: Rng): Lesson {
  if (rng.uniform() < SCANS) return scanLesson(rng);
  const picture = drawScene(rng);
  const questions = Array.from({ length: 4 }, () => drawQuery(picture, rng));
  return {
    picture,
    pieces: [
      ...shown("describe the image.", `${listing(picture)}.`),
      ...questions.flatMap(({ full, answer }) => exchange(full, answer)),
    ],
  };
}

/** Of dense and choice lessons, the share that shows a scan. */
const SCANS = 0.2;

function scanQueries(scan: Scan): Query[] {
  const places = PLACES.filter((_, i) => scan.spots[i]);
  const number = NUMBERS[places.length]!;
  return [
    {
      terse: "part",
      full: "what part is this?",
      answer: scan.part,
      others: PARTS.filter((part) => part !== scan.part),
    },
    {
      terse: "many spots",
      full: "how many spots are there?",
      answer: number,
      others: ["zero", "one", "two"].filter((other) => other !== number),
    },
    {
      terse: "where spots",
      full: "where are the spots?",
      answer: places.length === 0 ? "nothing" : places.join(" and "),
      others: PLACES.filter((place) => !places.includes(place)),
    },
    {
      terse: "any spots",
      full: "are there spots?",
      answer: places.length > 0 ? "yes" : "no",
      others: [places.length > 0 ? "no" : "yes"],
    },
  ];
}

function scanLesson(rng: Rng): Lesson {
  const picture = drawScan(rng);
  const [first, ...rest] = rng.shuffle(scanQueries(picture));
  const pieces = [
    ...shown(first!.full, first!.answer),
    ...rest.flatMap(({ full, answer }) => exchange(full, answer)),
  ];
  return { picture, pieces };
}

export const STATEMENTS = [
  (what: string) => `there is a ${what}`,
  (what: string) => `i love my ${what}`,
  (what: string) => `look at this ${what}`,
  (what: string) => `the ${what} is here`,
  (what: string) => `we found a ${what}`,
  (what: string) => `a picture of a ${what}`,
  (what: string) => `someone left a ${what}`,
  (what: string) => `only a ${what} today`,
] as const;

const PAIRS = [
  ["yes", "no"],
  ["true", "false"],
  ["match", "mismatch"],
  ["right", "wrong"],
  ["correct", "incorrect"],
  ["fits", "different"],
  ["same", "other"],
] as const;

interface Statement {
  readonly text: string;
  readonly holds: boolean;
}

/** A sentence that names a thing of the scene, or one that is not there; half are true. */
export function drawStatement(scene: Scene, rng: Rng): Statement {
  const holds = rng.uniform() < 0.5;
  const present = scene.cells.flatMap((item) => (item ? [item] : []));
  const bare = rng.uniform() < 0.5;
  const marks = present.map(({ thing }) => thing);
  const absent = (): string => (bare ? absentMark(marks, rng) : falseName(scene, rng));
  const item = oneOf(rng, present);
  const what = holds ? (bare ? item.thing : nameOf(item)) : absent();
  return { text: oneOf(rng, STATEMENTS)(what), holds };
}

/** Six statements about one picture, each with the words for true and false in front. */
export function matchPack(rng: Rng): Lesson {
  const picture = drawScene(rng);
  const pieces = Array.from({ length: 6 }, (_, i) => {
    const { text, holds } = drawStatement(picture, rng);
    const pair = oneOf(rng, PAIRS);
    const [a, b] = rng.uniform() < 0.5 ? pair : [pair[1], pair[0]];
    const question = `${text}\n${a} or ${b}?`;
    return (i === 0 ? shown : exchange)(question, holds ? pair[0] : pair[1]);
  });
  return { picture, pieces: pieces.flat() };
}

/** Up to `count` options with the right one among them, in random order, as lines; and the answer as written. */
export function options(query: Query, rng: Rng, count = 4): { lines: string; answer: string } {
  const wrong = rng.sample(query.others, Math.min(query.others.length, 1 + rng.below(count - 1)));
  return lettered(rng.shuffle([query.answer, ...wrong]), query.answer);
}

function lettered(names: readonly string[], answer: string): { lines: string; answer: string } {
  const option = (i: number): string => `(${LETTERS[i]}) ${names[i]}`;
  return { lines: names.map((_, i) => `${option(i)}\n`).join(""), answer: option(names.indexOf(answer)) };
}

/** Three short choice questions about one picture. */
export function choicePack(rng: Rng): Lesson {
  const scan = rng.uniform() < SCANS;
  const picture = scan ? drawScan(rng) : drawScene(rng);
  const draw = (): Query =>
    picture.kind === "scan" ? oneOf(rng, scanQueries(picture)) : drawQuery(picture, rng);
  const pieces = Array.from({ length: 3 }, (_, i) => {
    const query = draw();
    const { lines, answer } = options(query, rng);
    return (i === 0 ? shown : exchange)(`${query.full}\nOptions:\n${lines}`, answer);
  });
  return { picture, pieces: pieces.flat() };
}

/** The benchmark's long form of a choice question; half of the lessons leave the instructions out. */
function choicePrompt(rng: Rng, source: string, text: string, question: string, lines: string): string {
  const head = `Select the best answer to the following multiple-choice question${source}.\n`;
  const tail =
    "Answer with the option's letter from the given choices directly and only give the best option. The best answer is: ";
  const full = rng.uniform() < 0.5;
  return `${full ? head : ""}${text && `${text}\n`}${question}\nOptions:\n${lines}${full ? tail : ""}`;
}

/** One choice question about a picture. */
export function choice(rng: Rng): Lesson {
  const picture = drawScene(rng);
  const query = drawQuery(picture, rng);
  const { lines, answer } = options(query, rng);
  return { picture, pieces: shown(choicePrompt(rng, " based on the image", "", query.full, lines), answer) };
}

/** Does a statement fit the picture? Options mostly in a fixed order, as in classification tasks. */
export const match = (rng: Rng): Lesson => matchInOrder(rng, 0.75);

/** The same, with the option that says yes always the second: the letter alone then is the answer. */
export const verdict = (rng: Rng): Lesson => matchInOrder(rng, 1);

function matchInOrder(rng: Rng, yesLast: number): Lesson {
  const picture = drawScene(rng);
  const { text, holds } = drawStatement(picture, rng);
  const pair = oneOf(rng, PAIRS);
  const names = rng.uniform() < yesLast ? [pair[1], pair[0]] : [pair[0], pair[1]];
  const { lines, answer } = lettered(names, holds ? pair[0] : pair[1]);
  const source = " based on the text and image";
  const question = `${names[0]} or ${names[1]}${source}?`;
  return { picture, pieces: shown(choicePrompt(rng, source, text, question, lines), answer) };
}

/** A choice question that the text alone answers. */
export function textChoice(rng: Rng): Lesson {
  const scene = drawScene(rng);
  const query = drawQuery(scene, rng);
  const { lines, answer } = options(query, rng);
  return {
    pieces: exchange(choicePrompt(rng, " based on the text", listing(scene), query.full, lines), answer),
  };
}

/** Picture and text say different things; the question names the one that counts. */
export function whichSource(rng: Rng): Lesson {
  const picture = drawScene(rng);
  const told = drawScene(rng);
  const image = rng.uniform() < 0.5;
  const query = drawQuery(image ? picture : told, rng);
  const { lines, answer } = options(query, rng);
  const source = image ? " based on the image" : " based on the text";
  return { picture, pieces: shown(choicePrompt(rng, source, listing(told), query.full, lines), answer) };
}
