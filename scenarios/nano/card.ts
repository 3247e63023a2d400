/** The model card of fedloom-nano: what it is, what it was taught, what that cost and how well it took. */
import { WORDS } from "../../data/scenes/glyphs.ts";
import { COLOR_NAMES, THINGS } from "../../data/scenes/sprites.ts";
import type { Checkpoint, Stage } from "./course.ts";
import type { LessonKind } from "./curriculum.ts";
import type { Score } from "./examine.ts";

const KINDS: Readonly<Record<LessonKind, string>> = {
  stream: "terse questions about a picture",
  textStream: "terse questions about a listing in words",
  letterStream: "options by letter, looked up both ways",
  placeStream: "where each thing is, in a picture or a listing",
  dense: "caption and full questions, scans too",
  matchPack: "does a statement fit the picture? six in a row",
  choicePack: "short choice questions about a picture, letters shuffled",
  choice: "one choice question in the benchmark's form, letters shuffled",
  match: "statement and picture, in the benchmark's form",
  textChoice: "choice question that the text answers, letters shuffled",
  whichSource: "picture and text differ, the question names one",
  verdict: "statement and picture, in the benchmark's form, options in one order",
};

/** Terse questions as streams ask them, by their first word. */
const QUESTIONS: Readonly<Record<string, string>> = {
  color: "`color star?`",
  thing: "`thing red?`",
  where: "`where star?`",
  at: "`at top left?`",
  many: "`many star?`",
  any: "`any star?`",
  name: "`red star?`",
  digit: "`digit top left?`",
  word: "`word top left?`",
  "texture?": "`texture?`",
};

/** What a pretraining took, from its progress file. */
export interface Cost {
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** Steps of each stage. */
  readonly steps: Readonly<Record<Stage, number>>;
}

const percent = ({ right, answers }: Score): string => ((100 * right) / answers).toFixed(1);

export function nanoCard(
  { weights }: Pick<Checkpoint, "weights">,
  scores: Readonly<Record<LessonKind, Score>>,
  vocabulary: number,
  cost: Cost,
): string {
  const size = [...weights.values()].reduce((sum, { data }) => sum + data.length, 0);
  const minutes = (seconds: number): string => (seconds / 60).toFixed(0);
  const rows = Object.entries(scores).map(
    ([kind, score]) => `| ${KINDS[kind as LessonKind]} | ${percent(score)} % | ${score.answers} |`,
  );
  const [seen, read] = [scores.stream.byQuestion ?? {}, scores.textStream.byQuestion ?? {}];
  const terse = Object.entries(QUESTIONS).map(([kind, title]) => {
    const cells = [seen[kind], read[kind]].map((score) =>
      score === undefined ? "-" : `${percent(score)} %`,
    );
    return `| ${title} | ${cells.join(" | ")} |`;
  });
  return `---
license: apache-2.0
library_name: onnx
pipeline_tag: image-text-to-text
tags: [llava, synthetic-data]
---
# fedloom-nano

A very small multimodal language model that really sees and reads, within its small world: ${(size / 1e6).toFixed(2)} million weights,
pictures of 32 x 32 pixels, a vocabulary of ${vocabulary} tokens. It exists so that federated fine-tuning can be tried and measured on any
laptop, in minutes, through the same code that large models take. It is of no use for anything else.

| part | what |
|---|---|
| vision encoder | vision transformer, patches of 8 pixels, 3 layers of width 128, 16 image tokens |
| connector | two linear layers with GELU |
| decoder | Llama-style: 4 layers of width 128, 4 heads, SwiGLU 320, rotary positions, tied embeddings |
| files | float32, and float16 weights computed in float32 (\`_fp16\`); ONNX opset 20 |

## Data

Drawn by a program, without end, from a seed. Scenes have four cells on a dark ground, plain, striped or dotted; one to four
cells hold a thing (${THINGS.length} kinds), a digit, or a written word (${WORDS.length} of three or four letters), each in one of ${COLOR_NAMES.length} colors. Scans are
pale body parts with bright spots. About them: questions, captions, statements and choice questions that are true
by construction; the same about listings in words. No real picture, no text of a person, no output of another model.

## Training

From random weights, by this project's own engine on onnxruntime: first the vision encoder learns to name what each
cell shows (${cost.steps.alignment} steps of 64 pictures); then, the encoder frozen, the rest learns from lessons (${cost.steps.lessons} steps of 16) and
practices what was hard (${cost.steps.practice} steps). It took ${minutes(cost.cpuSeconds)} minutes of processor time
on one thread, ${minutes(cost.seconds)} minutes by the clock of a machine that did other work as well. \`npm run pretrain\` makes these weights;
on the same kind of processor and runtime, bit for bit. \`node scripts/publish-nano.ts\` writes this directory.

## Scores

Whole answers right on fresh lessons (every token the likeliest one, the true text before it).

| lessons | right | answers |
|---|---|---|
${rows.join("\n")}

The first two rows by question; no question comes twice about a scene.

| question | seen in a picture | read in a listing |
|---|---|---|
${terse.join("\n")}

What it has not learned: to say where a thing is (what is at a place it knows), and to choose among options in
shuffled order, both near chance. Choice questions with shuffled letters are the hardest for a model of this size; where
options keep their order, as in classification tasks, that does not matter.

## Limits

Words outside its vocabulary are spelled from pieces it never learned. Photographs are noise to it. It answers
everything, knowing nothing of the world.
`;
}

const TUNING = "## Fine-tuned";

/** The card with a section on fine-tuning, in place of the one it may have. */
export function withTuning(card: string, rows: readonly string[]): string {
  const [before] = card.split(`\n${TUNING}`);
  return `${before!.trimEnd()}

${TUNING}

LoRA of rank 8 on q, k, v and o, one trainer with all training rows of a drawn stand-in (\`fedloom data make\`, profile standard),
in per cent on its test rows; training and test rows both keep what the third column says. \`node scripts/tune-nano.ts\`
measures this; one seed.

| stand-in for | metric | kept | before | after | steps |
|---|---|---|---|---|---|
${rows.join("\n")}
`;
}
