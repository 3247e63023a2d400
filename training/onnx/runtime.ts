/**
 * What runs programs; onnxruntime does (edge/session.ts). A program holds operators with constant shapes, so that
 * another runtime is a table of kernels and no more.
 */
import type { TensorSet } from "../../adapters/tensor.ts";
import type { Program } from "./program.ts";

export type Device = "cpu" | "cuda" | "webgpu";

export interface Session {
  run(inputs: TensorSet, outputs?: readonly string[]): Promise<TensorSet>;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  close(): Promise<void>;
}

export interface SessionOptions {
  /** Folder that the places of weights are relative to. */
  readonly folder: string;
  readonly device: Device;
  readonly threads?: number | undefined;
  /** Keeps a copy of each weight in the order that the processor's kernels like best. */
  readonly packWeights: boolean;
}

export interface ProgramOptions extends SessionOptions {
  /** The version of the standard operator set that the source graph states. */
  readonly opset: number;
}

/**
 * Which kernels a program may use: "all" the runtime's own fused ones with all their results too, which onnxruntime's
 * CPU provider has right (test/training/onnx/rules.test.ts), "standard" those that every runtime and device has.
 */
export type Kernels = "all" | "standard";

export interface Runtime {
  /** "standard" where absent. */
  kernels?(device: Device): Kernels;
  /** @throws FedloomError F2111 where it has no kernel for an operator, F2115 for the device, F2116 where it refuses */
  open(program: Program, options: ProgramOptions): Promise<Session>;
  /** A serialized model with free shapes, for generation with a cache; absent where a runtime runs programs only. */
  openModel?(model: Uint8Array, options: SessionOptions): Promise<Session>;
}
