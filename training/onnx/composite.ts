/**
 * A model in up to three graphs as one: token embeddings, an encoder whose features replace the embeddings of
 * the media tokens, and a decoder. Gradients flow from the decoder through the embeddings into the encoder.
 */
import { sizeOf, type Tensor, type TensorSet, tensor, tensorSet } from "../../adapters/tensor.ts";
import { FedloomError } from "../../base/errors.ts";
import type { Batch, Engine, EngineOptions, GraphFile, ParameterSpec, StepResult } from "./engine.ts";
import { openEngine } from "./open.ts";

export interface CompositeOptions extends Omit<EngineOptions, "file" | "output"> {
  /** The decoder, or the only graph. */
  readonly decoder: GraphFile;
  readonly embed?: GraphFile | undefined;
  readonly encoder?: GraphFile | undefined;
  /** As `mapping` is for the decoder. */
  readonly encoderMapping?: EngineOptions["mapping"];
  /** Tokens whose embeddings are replaced by the encoder's features, in row-major order. */
  readonly mediaTokenId?: number | undefined;
}

export interface Composite {
  readonly parameters: readonly ParameterSpec[];
  /** Modules asked for that no graph has. */
  readonly absent: readonly string[];
  initialValues(): TensorSet;
  /** The batch holds the inputs of all graphs; `inputs_embeds` stand in for ids and media where given. */
  step(batch: Batch, parameters: TensorSet): Promise<StepResult>;
  /** Rows of the decoder's output, as Engine.forward gives them. */
  forward(batch: Batch, parameters: TensorSet, rows?: readonly number[]): Promise<Tensor>;
  close(): Promise<void>;
}

export async function openComposite(options: CompositeOptions): Promise<Composite> {
  const {
    decoder: file,
    embed: embedFile,
    encoder: encoderFile,
    encoderMapping,
    mediaTokenId,
    ...shared
  } = options;
  const wantsEmbeddings = options.inputGradients?.includes("inputs_embeds") ?? false;
  const encoder =
    encoderFile &&
    (await openEngine({
      ...shared,
      file: encoderFile,
      mapping: encoderMapping ?? {},
      trainable: [],
      objective: "none",
      inputGradients: [],
    }));
  const embed =
    embedFile &&
    (await openEngine({
      ...shared,
      file: embedFile,
      lora: [],
      trainable: [],
      objective: "none",
      inputGradients: [],
    }));
  const trainsBefore = [encoder, embed].some(
    (engine) => engine !== undefined && engine.parameters.length > 0,
  );
  const inputGradients = trainsBefore || wantsEmbeddings ? ["inputs_embeds"] : [];
  const decoder = await openEngine({ ...shared, file, inputGradients });
  refuseNothing(options, [decoder, encoder, embed]);
  return new ThreeGraphs({ decoder, embed, encoder, mediaTokenId, wantsEmbeddings });
}

/** An adapter may have modules that an export left out, but not only such. @throws FedloomError F2113 */
function refuseNothing(
  { lora, saved = [] }: CompositeOptions,
  engines: readonly (Engine | undefined)[],
): void {
  const wanted = [...lora.map(({ path }) => path), ...saved];
  const known = engines.filter((engine) => engine !== undefined);
  if (wanted.length === 0 || known.some(({ parameters }) => parameters.length > 0)) return;
  const modules = known.flatMap((engine) => engine.modules).map(({ path }) => path);
  throw new FedloomError(
    "F2113",
    `Cannot place the adapter: no graph has "${wanted[0]}" or any other of its modules; the graphs have ${
      modules
        .slice(0, 8)
        .map((path) => `"${path}"`)
        .join(", ") || "no linear layers with a name"
    }${modules.length > 8 ? ", ..." : ""}`,
    { wanted, modules },
  );
}

/** Before the module's path in the name of a parameter. */
const ROOT = "base_model.model.";

interface Parts {
  readonly decoder: Engine;
  readonly embed: Engine | undefined;
  readonly encoder: Engine | undefined;
  readonly mediaTokenId: number | undefined;
  readonly wantsEmbeddings: boolean;
}

class ThreeGraphs implements Composite {
  readonly parameters: readonly ParameterSpec[];
  readonly absent: readonly string[];
  readonly #parts: Parts;

  constructor(parts: Parts) {
    const { decoder, embed, encoder } = parts;
    this.#parts = parts;
    const before = [encoder, embed].filter((engine) => engine !== undefined);
    this.parameters = [decoder, ...before].flatMap(({ parameters }) => parameters);
    this.absent = decoder.absent.filter(
      (path) =>
        !before.some(({ parameters }) => parameters.some(({ name }) => name.startsWith(`${ROOT}${path}.`))),
    );
  }

  initialValues(): TensorSet {
    const { decoder, embed, encoder } = this.#parts;
    return tensorSet([decoder, encoder, embed].flatMap((engine) => [...(engine?.initialValues() ?? [])]));
  }

  async step(batch: Batch, parameters: TensorSet): Promise<StepResult> {
    const { decoder, embed, encoder, wantsEmbeddings } = this.#parts;
    const { inputs, places, features } = await this.#embedded(batch, parameters);
    const result = await decoder.step({ ...batch, inputs }, parameters);
    const inputGradients = wantsEmbeddings ? result.inputGradients : new Map();
    const dEmbeddings = result.inputGradients.get("inputs_embeds");
    const gradients = [...result.gradients];
    const through = async (engine: Engine, slope: Tensor): Promise<void> => {
      const own = { ...batch, inputs: only(batch.inputs, engine) };
      gradients.push(...(await engine.backward(own, parameters, slope)).gradients);
    };
    if (dEmbeddings !== undefined && encoder && encoder.parameters.length > 0 && features !== undefined)
      await through(encoder, pickedRows(dEmbeddings, places, features.shape));
    if (dEmbeddings !== undefined && embed && embed.parameters.length > 0 && batch.inputs.has("input_ids"))
      await through(embed, withoutRows(dEmbeddings, places));
    return { ...result, inputGradients, gradients: tensorSet(gradients) };
  }

  async forward(batch: Batch, parameters: TensorSet, rows?: readonly number[]): Promise<Tensor> {
    const { inputs } = await this.#embedded(batch, parameters);
    return this.#parts.decoder.forward({ ...batch, inputs }, parameters, rows);
  }

  async close(): Promise<void> {
    const { decoder, embed, encoder } = this.#parts;
    await Promise.all([decoder.close(), embed?.close(), encoder?.close()]);
  }

  /** The decoder's inputs, the rows of the embeddings that media took, and the features that stand there. */
  async #embedded(
    batch: Batch,
    parameters: TensorSet,
  ): Promise<{ inputs: TensorSet; places: readonly number[]; features: Tensor | undefined }> {
    const { decoder, embed, encoder, mediaTokenId } = this.#parts;
    const ids = batch.inputs.get("input_ids");
    const wanted = decoder.inputs.some(({ name }) => name === "inputs_embeds");
    const hasMedia = encoder !== undefined && only(batch.inputs, encoder).size > 0;
    if (!wanted || embed === undefined || ids === undefined)
      return { inputs: only(batch.inputs, decoder), places: [], features: undefined };
    const tokens = await embed.forward({ inputs: only(batch.inputs, embed) }, parameters);
    const data = (tokens.data as Float32Array).slice(); // embeddings are float32
    const places: number[] = [];
    let features: Tensor | undefined;
    if (hasMedia) {
      const own = { ...batch, inputs: only(batch.inputs, encoder) };
      features = await encoder.forward(own, parameters);
      (ids.data as BigInt64Array).forEach((id, at) => {
        if (Number(id) === mediaTokenId) places.push(at);
      });
      const width = tokens.shape.at(-1)!;
      const count = sizeOf(features.shape) / width;
      if (count !== places.length)
        throw new FedloomError(
          "F2114",
          `Cannot place media: there must be as many media tokens (${mediaTokenId}) as features, got ${places.length} and ${count}`,
        );
      places.forEach((at, i) => {
        data.set((features!.data as Float32Array).subarray(i * width, (i + 1) * width), at * width);
      });
    }
    const embeddings = tensor("F32", tokens.shape, data);
    return {
      inputs: only(
        tensorSet([...without(batch.inputs, "inputs_embeds"), ["inputs_embeds", embeddings]]),
        decoder,
      ),
      places,
      features,
    };
  }
}

function without(inputs: TensorSet, name: string): TensorSet {
  return new Map([...inputs].filter(([other]) => other !== name));
}

/** What of a batch a graph takes. */
function only(inputs: TensorSet, engine: Engine): TensorSet {
  const names = new Set(engine.inputs.map(({ name }) => name));
  return new Map([...inputs].filter(([name]) => names.has(name)));
}

/** [B, S, H] with zeros at flat places. */
function withoutRows(source: Tensor, places: readonly number[]): Tensor {
  const width = source.shape.at(-1)!;
  const data = (source.data as Float32Array).slice();
  for (const at of places) data.fill(0, at * width, (at + 1) * width);
  return tensor("F32", source.shape, data);
}

/** Rows of [B, S, H] at flat places, in the shape of the features. */
function pickedRows(source: Tensor, places: readonly number[], shape: readonly number[]): Tensor {
  const width = source.shape.at(-1)!;
  const data = new Float32Array(sizeOf(shape));
  places.forEach((at, i) => {
    data.set((source.data as Float32Array).subarray(at * width, (at + 1) * width), i * width);
  });
  return tensor("F32", shape, data);
}
