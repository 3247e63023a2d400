/** What a client says of itself when it joins: counts, names of kinds and a keyed hash, never a file or an example. */
import { create } from "@bufbuild/protobuf";
import { CODEC_NAMES } from "../adapters/codecs/index.ts";
import { SET_CODECS } from "../adapters/encoded-set.ts";
import { type Example, MODALITIES } from "../data/example.ts";
import { withKept } from "../data/prompts/index.ts";
import type { PromptForm } from "../data/prompts/multiple-choice.ts";
import { type Inventory, InventorySchema } from "../proto/gen/fedloom/v1/fleet_pb.ts";
import type { Trainer } from "../training/trainer.ts";

/** A client's own data. Both parts stay on its machine. */
export interface Shard {
  readonly train: readonly Example[];
  readonly heldOut: readonly Example[];
  /** The shard in another wording, where it holds less than its examples do (a partition's). */
  worded?(form: PromptForm): Shard;
}

const wordings = new WeakMap<Shard, Map<PromptForm, Shard>>();

/** The examples as a run wants their prompts; the same objects each time, since trainers remember what they made of them. */
export function wordedAs(shard: Shard, form: PromptForm): Shard {
  const known = wordings.get(shard) ?? new Map<PromptForm, Shard>();
  wordings.set(shard, known);
  const worded = known.get(form) ?? reworded(shard, form);
  known.set(form, worded);
  return worded;
}

function reworded(shard: Shard, form: PromptForm): Shard {
  if (shard.worded !== undefined) return shard.worded(form);
  const reword = (example: Example): Example => withKept(example, MODALITIES, form);
  return { train: shard.train.map(reword), heldOut: shard.heldOut.map(reword) };
}

/** "text", "image", "audio+text": what an example holds, in alphabetical order. */
export function modalitiesOf(example: Example): string {
  const held = [
    ...(example.audios.length > 0 ? ["audio"] : []),
    ...(example.images.length > 0 ? ["image"] : []),
    ...(saysAnything(example) ? ["text"] : []),
  ];
  return held.length === 0 ? "none" : held.join("+");
}

/** Whether a user turn holds words beside the marks of its pictures and sounds. */
function saysAnything({ turns }: Example): boolean {
  return turns.some(
    ({ role, content }) => role === "user" && content.replaceAll(/<(image|audio)>/g, "").trim() !== "",
  );
}

/** @param dataFingerprint of the training examples; "" tells none */
export function takeInventory(
  shard: Shard,
  trainer: Trainer,
  device: string,
  dataFingerprint: string,
): Inventory {
  const examples: Record<string, bigint> = {};
  for (const example of shard.train) {
    const modalities = modalitiesOf(example);
    examples[modalities] = (examples[modalities] ?? 0n) + 1n;
  }
  return create(InventorySchema, {
    examples,
    heldOutExamples: BigInt(shard.heldOut.length),
    trainer: trainer.name,
    device,
    baseModel: trainer.baseHash,
    codecs: [...CODEC_NAMES, ...SET_CODECS],
    dataFingerprint,
  });
}
