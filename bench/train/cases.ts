/** What is measured: batches of a decoder, and how both sides are started for them. */
import type { EngineOptions } from "../../training/onnx/engine.ts";
import type { Device } from "../../training/onnx/runtime.ts";
import type { DecoderShape } from "./decoder.ts";

export interface TrainCase {
  readonly name: string;
  readonly batch: number;
  readonly length: number;
  /** Real tokens of each example; the rest is padding on the right. */
  readonly lengths: readonly number[];
  /** Labelled tokens at the end of each example. */
  readonly labels: number;
}

export const CASES: readonly TrainCase[] = [
  { name: "1 x 256, 32 labels", batch: 1, length: 256, lengths: [256], labels: 32 },
  { name: "1 x 256, all labelled", batch: 1, length: 256, lengths: [256], labels: 255 },
  { name: "4 x 128, 32 labels each", batch: 4, length: 128, lengths: [128, 96, 64, 112], labels: 32 },
  { name: "4 x 128, all labelled", batch: 4, length: 128, lengths: [128, 96, 64, 112], labels: 127 },
];

/** What a measuring process is told. */
export interface Spec extends TrainCase {
  readonly shape: DecoderShape;
  readonly model: string;
  readonly threads: number;
  /** "lean" and "fast" as the engine has them; "recompute" is lean with activations computed again. */
  readonly mode: NonNullable<EngineOptions["mode"]> | "recompute";
  readonly device: Device;
}

/** One step, or the opening of the session. */
export interface Sample {
  readonly wall: number;
  readonly cpu: number;
  /** Peak resident memory of the process so far, MiB. */
  readonly rss: number;
}
