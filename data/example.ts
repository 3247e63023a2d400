/** One training or test example, as every dataset format yields it and every trainer takes it. */
export type Modality = "text" | "image" | "audio";

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
 * Invariants, checked by the dataset readers:
 *  1. `id` is unique in its dataset.
 *  2. `turns` holds at least one user turn; for training the last turn is the assistant's.
 *  3. The marks "<image>" and "<audio>" in user turns are as many as `images` and `audios`; a medium without a mark stands
 *     before the first user turn's text.
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
  /** Format-specific fields that metrics want, such as VQA's answer type. */
  readonly fields?: Readonly<Record<string, string>>;
}
