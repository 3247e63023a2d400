/** One training or test example, as every dataset format yields it and every trainer takes it. */
export const MODALITIES = ["text", "image", "audio"] as const;
export type Modality = (typeof MODALITIES)[number];

/** Bytes are read when a trainer needs them: a shard of 100,000 examples holds paths, not pictures. */
export interface Media {
  /** What an error message calls it: the path, or the row of a parquet file. */
  readonly name: string;
  read(): Promise<Uint8Array>;
}

export interface Turn {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/**
 * Invariants, checked by `openDataset`; everyone behind it may rely on them:
 *  1. `id` is unique in its dataset.
 *  2. `turns` holds at least one user turn; for training the last turn is the assistant's.
 *  3. The marks "<image>" and "<audio>" in user turns are as many as `images` and `audios`; a medium without
 *     a mark stands before the first user turn's text.
 */
export interface Example {
  readonly id: string;
  readonly turns: readonly Turn[];
  readonly images: readonly Media[];
  readonly audios: readonly Media[];
  /** Class name or index, for partitions by label and for classification metrics. */
  readonly label?: string;
  /** Answers to choose from by likelihood; the right one is the assistant's last turn. */
  readonly options?: readonly string[];
  /** Format-specific fields that metrics and partitions want, such as VQA's answer type. */
  readonly fields?: Readonly<Record<string, string>>;
  /** Present where the wording depends on what is kept: data/prompts builds the user turn again from it. */
  readonly template?: {
    /** A name of data/prompts/index.ts. */
    readonly name: string;
    /** The example's own words, without the question around them; absent where the modality "text" was dropped. */
    readonly text?: string;
  };
}

export const MARK = { image: "<image>", audio: "<audio>" } as const;

/**
 * Which modalities an example carries; "text" where its template still has its words, or without a template where a
 * user turn says more than marks. The question around dropped words is no text: it stands in every example.
 */
export function modalitiesOf({ template, turns, images, audios }: Example): Modality[] {
  const hasText =
    template === undefined
      ? turns.some(({ role, content }) => role === "user" && withoutMarks(content) !== "")
      : template.text !== undefined;
  const present: Modality[] = [];
  if (hasText) present.push("text");
  if (images.length > 0) present.push("image");
  if (audios.length > 0) present.push("audio");
  return present;
}

const withoutMarks = (text: string): string =>
  text.replaceAll(MARK.image, "").replaceAll(MARK.audio, "").trim();
