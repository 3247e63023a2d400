/** The kinds of media that stand in a prompt, and what stands there for them. */

export type MediaKind = "image" | "audio";

export const MEDIA_KINDS: readonly MediaKind[] = ["image", "audio"];

/** How the features of one file lie in the prompt. */
export interface MediaGrid {
  readonly kind: MediaKind;
  /** Of frames in a split picture, 0 x 0 in a whole one; a sound is one row of feature vectors. */
  readonly rows: number;
  readonly columns: number;
}

/** What a model has in its prompts for one kind. */
export interface Placeholder {
  /** Stands in the rendered prompt once for each file, and in the tokens once for each feature vector. */
  readonly token: string;
  /** Text that replaces one token of the rendered prompt. */
  readonly text: (grid: Pick<MediaGrid, "rows" | "columns">) => string;
}
