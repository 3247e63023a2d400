/**
 * The first stage of pretraining: every image token says what its cell shows, in words. After it the picture's
 * side speaks the decoder's language and is frozen; without it, questions about pictures stay at chance.
 */
import { float32, type Tensor, tensor } from "../../adapters/tensor.ts";
import type { Rng } from "../../base/rng.ts";
import { MARKS } from "../../data/scenes/marks.ts";
import { drawScan, drawScene, PARTS, type Scan, type Scene, TEXTURES } from "../../data/scenes/scene.ts";
import { COLOR_NAMES } from "../../data/scenes/sprites.ts";
import { NANO } from "./architecture.ts";
import { type Codec, NO_LABEL } from "./batch.ts";

/** Each group is a question that every image token is asked; one of its words is the answer. */
const GROUPS: readonly { readonly words: readonly string[]; readonly asked: number }[] = [
  { words: [...MARKS, "nothing"], asked: 1 },
  { words: [...COLOR_NAMES, "nothing"], asked: 1 },
  // Place, kind and texture are easy: they are asked less often, which leaves the loss to the things and colors.
  { words: ["top", "bottom"], asked: 0.3 },
  { words: ["left", "right"], asked: 0.3 },
  { words: [...PARTS, "image"], asked: 0.3 },
  { words: TEXTURES, asked: 0.3 },
];

export const ALIGNMENT_GROUPS = GROUPS.length;
const WORDS: readonly string[] = [...new Set(GROUPS.flatMap(({ words }) => words))];
const OUTSIDE = -1e4;
const SCANS = 0.2;
const TOKENS_PER_EDGE = NANO.imageSide / NANO.patch;

/** word_ids [W] and group_mask [G, W] of the alignment graph. */
export function alignmentConstants(codec: Codec): { wordIds: Tensor; groupMask: Tensor } {
  const ids = WORDS.map((word) => {
    const tokens = codec.encode(` ${word}`);
    if (tokens.length !== 1) throw new TypeError(`"${word}" must be one token, got ${tokens.length}`);
    return BigInt(tokens[0]!);
  });
  const mask = GROUPS.flatMap(({ words }) => WORDS.map((word) => (words.includes(word) ? 0 : OUTSIDE)));
  return {
    wordIds: tensor("I64", [ids.length], BigInt64Array.from(ids)),
    groupMask: float32([GROUPS.length, WORDS.length], mask),
  };
}

export function drawPictures(rng: Rng, count: number): (Scene | Scan)[] {
  return Array.from({ length: count }, () => (rng.uniform() < SCANS ? drawScan(rng) : drawScene(rng)));
}

/** One label for each image, token and group, an index into the words. */
export function alignmentLabels(pictures: readonly (Scene | Scan)[], rng: Rng): Tensor {
  const labels: bigint[] = [];
  for (const picture of pictures) {
    for (let token = 0; token < NANO.imageTokens; token++) {
      const answers = answersOf(picture, token);
      GROUPS.forEach(({ asked }, group) => {
        const answer = answers[group];
        const silent = answer === undefined || rng.uniform() >= asked;
        labels.push(silent ? NO_LABEL : BigInt(WORDS.indexOf(answer)));
      });
    }
  }
  return tensor("I64", [labels.length], BigInt64Array.from(labels));
}

function answersOf(picture: Scene | Scan, token: number): readonly (string | undefined)[] {
  const top = token < NANO.imageTokens / 2;
  const left = token % TOKENS_PER_EDGE < TOKENS_PER_EDGE / 2;
  const place = [top ? "top" : "bottom", left ? "left" : "right"];
  if (picture.kind === "scan") return [undefined, undefined, ...place, picture.part, undefined];
  const item = picture.cells[(top ? 0 : 2) + (left ? 0 : 1)];
  return [item?.thing ?? "nothing", item?.color ?? "nothing", ...place, "image", picture.texture];
}
