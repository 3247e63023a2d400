/**
 * What the engine gives to whoever trains: a graph file in, loss and gradients out.
 *
 * One `Engine` stands for one ONNX graph with LoRA factors (and whole modules) as inputs. A decoder or a
 * classifier has a loss of its own; an encoder in front of a decoder is driven backwards by the gradient of
 * its output (`backward`), so that a model in three graphs trains as one:
 *
 *   features = encoder.forward(...)   embeds = scatter(features)   decoder.step(...) -> d embeds -> encoder.backward(...)
 *
 * Sessions are made for each combination of input shapes, because a graph with constant shapes opens five
 * times faster; they share the frozen weights, which stay in the file that holds them, and the oldest go.
 */
import type { Tensor, TensorSet } from "../../adapters/tensor.ts";
import type { MemoryEstimate } from "./estimate.ts";
import type { GraphInput } from "./graph.ts";
import type { Device, Runtime } from "./runtime.ts";

/** A graph file and how to reach its bytes; edge/files.ts makes one from a path. */
export interface GraphFile {
  /** Name for messages. */
  readonly name: string;
  /** The serialized ModelProto. */
  readonly bytes: Uint8Array;
  /** Folder that external data locations are relative to, and the file's own name in it. */
  readonly folder: string;
  readonly fileName: string;
  /** A part of a file in `folder`. */
  read(location: string, offset: number, length: number): Uint8Array;
}

/** A linear layer of the graph that LoRA can stand beside. */
export interface LinearModule {
  /** Module path as PyTorch would name it, "model.layers.0.self_attn.q_proj". */
  readonly path: string;
  readonly in: number;
  readonly out: number;
  /** The node that multiplies, its weight, and the output columns of a packed projection that are this module's. */
  readonly node: string;
  readonly weight: string;
  /** How the file keeps the weight: as a product has it, transposed, or in blocks of a few bits (MatMulNBits). */
  readonly layout: "in_out" | "out_in" | "nbits";
  readonly columns?: readonly [number, number];
  /** Path of the packed projection that it is a part of. */
  readonly packed?: string;
  /** Whether the model itself has the packed projection, and not an optimizer's graph alone. */
  readonly isWhole?: boolean;
  /** All output columns of the node, those of other modules included. */
  readonly nodeOut: number;
}

/** One pair of factors: `base_model.model.<path>.lora_A.weight` [rank, in], `.lora_B.weight` [out, rank]. */
export interface LoraSpec {
  /** Module path as the adapter names it. */
  readonly path: string;
  readonly rank: number;
  /** alpha / r, or alpha / sqrt(r). */
  readonly scale: number;
}

export interface EngineOptions {
  readonly file: GraphFile;
  readonly lora: readonly LoraSpec[];
  /** Modules trained whole, by module path (PEFT's modules_to_save): their weight and bias become inputs. */
  readonly saved?: readonly string[];
  /** Initializers trained under their own names: embeddings, norms, any weight. */
  readonly trainable?: readonly string[];
  /** A regular expression over parameter names: those it matches anywhere get no gradient. */
  readonly frozen?: string;
  /**
   * "tokens": logits [B, S, V], the label of position t + 1 belongs to the logits of position t.
   * "classes": logits [B, C], one label an example.
   * "none": no loss; `forward` and `backward` only.
   */
  readonly objective: "tokens" | "classes" | "none";
  /** The output that objective, forward and backward mean; its logits or features, or else the graph's first where absent. */
  readonly output?: string;
  /** Inputs whose gradient `step` and `backward` give back. */
  readonly inputGradients?: readonly string[];
  /** Probability that an input of a LoRA branch is dropped while training. */
  readonly dropout?: number;
  /**
   * Activations are computed again on the way back instead of being kept: true, of whole blocks (recompute.ts); "cheap",
   * what takes little time (made-again.ts), which is done unasked where activations are large beside the weights.
   */
  readonly recompute?: boolean | "cheap";
  /** LoRA targets by module path where the graph's names do not tell (mapping file of the model directory). */
  readonly mapping?: Readonly<Record<string, ModuleLocation>>;
  /** Which norms of the model scale with 1 + weight; none where absent. A graph does not tell: it holds the sum. */
  readonly addedNorms?: AddedNorms | undefined;
  /** Paths of linear layers whose weight PyTorch keeps as [in, out]; none where absent. A graph need not tell. */
  readonly turnedLinears?: RegExp | undefined;
  /** Weights that layers below the lowest trained one must multiply with for `front` to give something; any where absent. */
  readonly leastFront?: number;
  /** What runs the programs; onnxruntime where absent. */
  readonly runtime?: Runtime;
  readonly device?: Device;
  /** Threads of the runtime; its own choice where absent. */
  readonly threads?: number;
  /** "lean" keeps weights mapped; "fast" also keeps a repacked copy: up to a fifth faster, up to the weights' size more memory. */
  readonly mode?: "lean" | "fast";
  /** Sessions kept open at most, one per combination of shapes. */
  readonly maxSessions?: number;
}

/** Norms that scale with 1 + weight: those without a bias (Gemma's root mean squares), or all (Nemotron's). */
export type AddedNorms = "without bias" | "all";

/** Where a module lies in a graph; an entry of the mapping file. */
export interface ModuleLocation {
  readonly node: string;
  readonly slice?: readonly [number, number] | null | undefined;
}

/** A name and shape that `step` wants as parameter and gives a gradient for. */
export interface ParameterSpec {
  readonly name: string;
  readonly shape: readonly number[];
  /** Rows of an embedding: a row without gradient was met by no example. */
  readonly table?: true;
}

export interface Batch {
  /**
   * The graph's own inputs by name. Missing ones are made where they follow from the others:
   * position_ids from attention_mask, past_key_values.* with length 0.
   */
  readonly inputs: TensorSet;
  /** I64: [B, S] with -100 where there is no label ("tokens"), [B] ("classes"). */
  readonly labels?: Tensor;
  /** Seed of the dropout masks; without one nothing is dropped. */
  readonly seed?: string;
  /** What `Engine.front` gave for each row, one under the other: a step begins there. */
  readonly front?: Front;
}

/** What enters the lowest trained layer. */
export interface Front {
  /** Where in the graph; fronts of another place do not fit. Equal for all engines of a graph that train from there on. */
  readonly place: string;
  /** F32 [B, T, H], T as many as the batch has tokens, or a picture has patches. */
  readonly states: Tensor;
}

/** One client's part of a step that several take together. */
export interface Share {
  readonly batch: Batch;
  readonly parameters: TensorSet;
}

export interface StepResult {
  /** Sum of the cross-entropy over all labels, and their number. Their quotient is the mean loss. */
  readonly lossSum: number;
  readonly labels: number;
  /** Gradient of `lossSum` with respect to each parameter; parameters that the output does not depend on are absent. */
  readonly gradients: TensorSet;
  /** Gradient of `lossSum` with respect to the inputs asked for. */
  readonly inputGradients: TensorSet;
}

export interface Engine {
  /** What the graph itself takes, parameters left out. */
  readonly inputs: readonly GraphInput[];
  /** Linear layers of the graph that LoRA can stand beside. */
  readonly modules: readonly LinearModule[];
  /** Paths of embeddings, norms and convolutions, which can be trained whole only. */
  readonly named: readonly string[];
  /** What `parameters` must hold, in byte order of names. */
  readonly parameters: readonly ParameterSpec[];
  /** Values that the graph has for saved modules and trainable initializers; LoRA factors have none. */
  initialValues(): TensorSet;
  /** LoRA modules and saved modules asked for that this graph does not have. */
  readonly absent: readonly string[];
  /** Loss and gradients, whatever they are: whoever trains looks whether they are finite. */
  step(batch: Batch, parameters: TensorSet): Promise<StepResult>;
  /**
   * What `step` gives for each share, but for rounding, in one pass over the frozen weights: rows of different clients
   * meet different LoRA factors in one batch. One share is `step` to the bit. Taken one by one where whole weights are
   * trained, or where the batches differ in more than rows and tokens.
   */
  stepTogether(shares: readonly Share[]): Promise<readonly StepResult[]>;
  /**
   * What enters the lowest trained layer: frozen weights and inputs alone decide it, so that it may be kept and given to
   * later steps. Undefined where less than an eighth of a pass lies below, or less than `leastFront`, or where a gradient
   * goes on to the inputs.
   */
  front(batch: Batch): Promise<Front | undefined>;
  /** What a step on the batch would hold in memory; nothing is run. */
  estimate(batch: Batch): Promise<MemoryEstimate>;
  /**
   * The chosen output. With `rows`, indices into its flattened leading axes ([B, S] or [B]), only those
   * rows, [rows.length, ...]: the projection onto the vocabulary then runs on them alone.
   */
  forward(batch: Batch, parameters: TensorSet, rows?: readonly number[]): Promise<Tensor>;
  /** Gradients of <outputGradient, output>. */
  backward(
    batch: Batch,
    parameters: TensorSet,
    outputGradient: Tensor,
  ): Promise<Pick<StepResult, "gradients" | "inputGradients">>;
  close(): Promise<void>;
}
