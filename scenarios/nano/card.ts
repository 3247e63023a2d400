/** The model card of fedloom-nano: what it is, what it was taught, what that cost and how well it took. */
import type { Checkpoint } from "./course.ts";
import type { LessonKind } from "./curriculum.ts";
import type { Score } from "./examine.ts";

const KINDS: Readonly<Record<LessonKind, string>> = {
  stream: "terse questions about a picture",
  textStream: "terse questions about a listing in words",
  letterStream: "options by letter, looked up both ways",
  dense: "caption and full questions, scans too",
  matchPack: "does a statement fit the picture? six in a row",
  choicePack: "short choice questions about a picture, letters shuffled",
  choice: "one choice question in the benchmark's form, letters shuffled",
  match: "statement and picture, in the benchmark's form",
  textChoice: "choice question that the text answers, letters shuffled",
  whichSource: "picture and text differ, the question names one",
};

export function nanoCard(
  { weights, step }: Checkpoint,
  scores: Readonly<Record<LessonKind, Score>>,
  vocabulary: number,
  seconds: number,
): string {
  const size = [...weights.values()].reduce((sum, { data }) => sum + data.length, 0);
  const rows = Object.entries(scores).map(
    ([kind, { answers, right }]) =>
      `| ${KINDS[kind as LessonKind]} | ${((100 * right) / answers).toFixed(1)} % | ${answers} |`,
  );
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

Drawn by a program, without end, from a seed: scenes of one to four things (16 kinds in 7 colors) in four cells on dark
grounds, and scan-like pictures with bright spots; questions, captions, statements and choice questions about
them that are true by construction. No real picture, no text of a person, no output of another model.

## Training

From random weights, by this project's own engine on onnxruntime: first the vision encoder learns to name what each
cell shows, then the rest learns from lessons (${step} steps of 16), the encoder frozen. ${(seconds / 60).toFixed(0)} minutes of one to two
processor cores in all. \`npm run pretrain\` trains such a model, \`node scripts/publish-nano.ts\` writes this directory.

## Scores

Whole answers right on fresh lessons (every token the likeliest one, the true text before it).

| lessons | right | answers |
|---|---|---|
${rows.join("\n")}

Choice questions with shuffled letters are the hardest for a model of this size; where options keep their order, as in
classification tasks, that does not matter.

## Limits

Words outside its vocabulary are spelled from pieces it never learned. Photographs are noise to it. It answers
everything, knowing nothing of the world.
`;
}
