import { expect, test } from "vitest";
import { createRng } from "../../../base/rng.ts";
import { DIGITS, WORDS } from "../../../data/scenes/glyphs.ts";
import { drawScene, PLACES, type Scene } from "../../../data/scenes/scene.ts";
import { encodeLesson, idOf, languageBatch, NO_LABEL } from "../../../scenarios/nano/batch.ts";
import { learnMerges, symbolsOf } from "../../../scenarios/nano/bpe.ts";
import { drawLesson, drawPractice, LESSON_KINDS, LESSONS } from "../../../scenarios/nano/curriculum.ts";
import { IMAGE } from "../../../scenarios/nano/lesson.ts";
import { nanoTokenizer } from "../../../scenarios/nano/nano-codec.ts";
import { drawQuery, falseName, NUMBERS } from "../../../scenarios/nano/queries.ts";
import { drawStatement } from "../../../scenarios/nano/teachers.ts";
import { lessonWords } from "../../../scenarios/nano/vocabulary.ts";

const tokenizer = nanoTokenizer();

/** The answer to a terse query, found by looking at the cells: written apart from the code that makes queries. */
function look(scene: Scene, terse: string): string {
  const items = scene.cells.flatMap((item) => (item ? [item] : []));
  const [kind, ...rest] = terse.split(" ");
  const what = rest.join(" ");
  if (kind === "color") return items.find(({ thing }) => thing === what)!.color;
  if (kind === "thing") return items.find(({ color }) => color === what)!.thing;
  if (kind === "where") return PLACES[scene.cells.findIndex((item) => item?.thing === what)]!;
  if (kind === "at") {
    const item = scene.cells[(PLACES as readonly string[]).indexOf(what)];
    return item ? `${item.color} ${item.thing}` : "nothing";
  }
  if (kind === "texture") return scene.texture!;
  if (kind === "digit" || kind === "word") {
    const { thing } = scene.cells[(PLACES as readonly string[]).indexOf(what)]!;
    expect(kind === "digit" ? DIGITS : WORDS).toContain(thing);
    return thing;
  }
  if (kind === "many") return NUMBERS[items.filter(({ thing }) => thing === what).length]!;
  if (kind === "any") return items.some(({ thing }) => thing === what) ? "yes" : "no";
  return items.some(({ color, thing }) => `${color} ${thing}` === terse) ? "yes" : "no";
}

test("every answer is what looking at the scene gives, and no wrong option is right too", () => {
  const rng = createRng("queries");
  for (let i = 0; i < 3000; i++) {
    const scene = drawScene(rng);
    const query = drawQuery(scene, rng);
    expect(query.answer, `${query.terse} in ${JSON.stringify(scene.cells)}`).toBe(look(scene, query.terse));
    expect(query.others).not.toContain(query.answer);
    expect(query.others.length).toBeGreaterThan(0);
  }
});

test("a false name is never in the scene, and half of the statements are true", () => {
  const rng = createRng("statements");
  let held = 0;
  for (let i = 0; i < 2000; i++) {
    const scene = drawScene(rng);
    expect(look(scene, falseName(scene, rng))).toBe("no");
    if (drawStatement(scene, rng).holds) held++;
  }
  // A fair coin thrown 2000 times: four standard deviations are 90.
  expect(Math.abs(held - 1000)).toBeLessThan(90);
});

test("every word of every lesson is one token, so that each answer costs few", () => {
  for (const word of lessonWords()) expect(tokenizer.encode(word), JSON.stringify(word)).toHaveLength(1);
});

test("merges are learned from the words alone: the same words, in any order, give the same merges", () => {
  const words = ["low", "lower", "newest", "widest"];
  expect(learnMerges([...words].reverse())).toEqual(learnMerges(words));
  const merged = learnMerges(words).map(([left, right]) => left + right);
  for (const word of words) expect(merged).toContain(word);
  expect(symbolsOf(" é")).toEqual(["Ġ", "Ã", "©"]);
});

test("labels stand on learned tokens alone, and a picture takes sixteen positions", () => {
  for (const kind of LESSON_KINDS) {
    const rng = createRng(kind);
    const lesson = LESSONS[kind](rng);
    const { ids, labels, picture } = encodeLesson(lesson, tokenizer);
    const learned = lesson.pieces.flatMap((piece) => (piece.learned ? tokenizer.encode(piece.text) : []));
    expect(labels.filter((label) => label !== NO_LABEL)).toEqual(learned.map(BigInt));
    expect(ids.filter((id) => id === idOf(IMAGE))).toHaveLength(picture === undefined ? 0 : 16);
  }
});

test("in a batch the rows of images point at their tokens, and those of lessons without one past the end", () => {
  const rng = createRng("batch");
  const lessons = [LESSONS.stream(rng), LESSONS.letterStream(rng)].map((lesson) =>
    encodeLesson(lesson, tokenizer),
  );
  const { inputs, labels } = languageBatch(lessons);
  const [size, length] = labels.shape as [number, number];
  const rows = [...inputs.get("image_rows")!.data].map(Number);
  const ids = [...inputs.get("input_ids")!.data].map(Number);
  expect(rows.slice(0, 16).every((row) => ids[row] === idOf(IMAGE))).toBe(true);
  expect(rows.slice(16).every((row) => row >= size * length)).toBe(true);
  expect(new Set(rows).size).toBe(32);
});

test("no kind of lesson is ever left out in the last part of the course, nor in the practice after it", () => {
  const rng = createRng("course");
  const course = new Set(Array.from({ length: 2000 }, () => drawLesson(0.9, rng).kind));
  // Streams of places belong to the practice alone.
  expect([...course, "placeStream", "verdict"].sort()).toEqual([...LESSON_KINDS].sort());
  const practice = new Set(Array.from({ length: 2000 }, () => drawPractice(rng).kind));
  expect([...practice].sort()).toEqual([...LESSON_KINDS].sort());
});
