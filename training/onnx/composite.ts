/**
 * A model in several graphs as one: token embeddings, encoders (of pictures, of sounds) whose features replace the
 * embeddings of their media tokens, and a decoder. Gradients flow from the decoder through the embeddings into the encoders.
 */
import { floats } from "../../adapters/cast.ts";
import { sizeOf, type Tensor, type TensorSet, tensor, tensorSet } from "../../adapters/tensor.ts";
import { FedloomError } from "../../base/errors.ts";
import type { Batch, Engine, EngineOptions, GraphFile, ParameterSpec, StepResult } from "./engine.ts";
import { openEngine } from "./open.ts";

export interface CompositeOptions extends Omit<EngineOptions, "file" | "output"> {
  /** The decoder, or the only graph. */
  readonly decoder: GraphFile;
  readonly embed?: GraphFile | undefined;
  readonly encoders?: readonly EncoderGraph[];
}

export interface EncoderGraph {
  readonly file: GraphFile;
  /** As `mapping` is for the decoder. */
  readonly mapping?: EngineOptions["mapping"];
  /** Tokens whose embeddings are replaced by the encoder's features, in row-major order. */
  readonly tokenId: number | undefined;
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
  const { decoder: file, embed: embedFile, encoders: encoderFiles = [], ...shared } = options;
  const wantsEmbeddings = options.inputGradients?.includes("inputs_embeds") ?? false;
  const before = { ...shared, trainable: [], objective: "none", inputGradients: [] } as const;
  const encoders: Encoder[] = [];
  for (const { file, mapping = {}, tokenId } of encoderFiles)
    encoders.push({ engine: await openEngine({ ...before, file, mapping }), tokenId });
  const embed = embedFile && (await openEngine({ ...before, file: embedFile, mapping: {}, lora: [] }));
  const engines = [...encoders.map(({ engine }) => engine), ...(embed ? [embed] : [])];
  const trainsBefore = engines.some(({ parameters }) => parameters.length > 0);
  const inputGradients = trainsBefore || wantsEmbeddings ? ["inputs_embeds"] : [];
  const decoder = await openEngine({ ...shared, file, inputGradients });
  refuseNothing(options, [decoder, ...engines]);
  return new JoinedGraphs({ decoder, embed, encoders, wantsEmbeddings });
}

/** An adapter may have modules that an export left out, but not only such. @throws FedloomError F2113 */
function refuseNothing({ lora, saved = [] }: CompositeOptions, known: readonly Engine[]): void {
  const wanted = [...lora.map(({ path }) => path), ...saved];
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

interface Encoder {
  readonly engine: Engine;
  readonly tokenId: number | undefined;
}

interface Parts {
  readonly decoder: Engine;
  readonly embed: Engine | undefined;
  readonly encoders: readonly Encoder[];
  readonly wantsEmbeddings: boolean;
}

/** Features of one encoder in the embeddings of a batch. */
interface Placed {
  readonly engine: Engine;
  /** Flat positions in [B, S], one for each row of features. */
  readonly places: readonly number[];
  readonly shape: readonly number[];
}

class JoinedGraphs implements Composite {
  readonly parameters: readonly ParameterSpec[];
  readonly absent: readonly string[];
  readonly #parts: Parts;

  constructor(parts: Parts) {
    const { decoder } = parts;
    this.#parts = parts;
    const before = enginesBefore(parts);
    this.parameters = [decoder, ...before].flatMap(({ parameters }) => parameters);
    this.absent = decoder.absent.filter(
      (path) =>
        !before.some(({ parameters }) => parameters.some(({ name }) => name.startsWith(`${ROOT}${path}.`))),
    );
  }

  initialValues(): TensorSet {
    const engines = [this.#parts.decoder, ...enginesBefore(this.#parts)];
    return tensorSet(engines.flatMap((engine) => [...engine.initialValues()]));
  }

  async step(batch: Batch, parameters: TensorSet): Promise<StepResult> {
    const { decoder, embed, wantsEmbeddings } = this.#parts;
    const { inputs, placed } = await this.#embedded(batch, parameters);
    const result = await decoder.step({ ...batch, inputs }, parameters);
    const inputGradients = wantsEmbeddings ? result.inputGradients : new Map();
    const dEmbeddings = result.inputGradients.get("inputs_embeds");
    const gradients = [...result.gradients];
    const through = async (engine: Engine, slope: Tensor): Promise<void> => {
      const own = { ...batch, inputs: only(batch.inputs, engine) };
      gradients.push(...(await engine.backward(own, parameters, slope)).gradients);
    };
    if (dEmbeddings !== undefined) {
      for (const { engine, places, shape } of placed)
        if (engine.parameters.length > 0) await through(engine, pickedRows(dEmbeddings, places, shape));
      if (embed && embed.parameters.length > 0 && batch.inputs.has("input_ids"))
        await through(
          embed,
          withoutRows(
            dEmbeddings,
            placed.flatMap(({ places }) => places),
          ),
        );
    }
    return { ...result, inputGradients, gradients: tensorSet(gradients) };
  }

  async forward(batch: Batch, parameters: TensorSet, rows?: readonly number[]): Promise<Tensor> {
    const { inputs } = await this.#embedded(batch, parameters);
    return this.#parts.decoder.forward({ ...batch, inputs }, parameters, rows);
  }

  async close(): Promise<void> {
    const engines = [this.#parts.decoder, ...enginesBefore(this.#parts)];
    await Promise.all(engines.map((engine) => engine.close()));
  }

  /** The decoder's inputs, and whose features stand where in them. */
  async #embedded(
    batch: Batch,
    parameters: TensorSet,
  ): Promise<{ inputs: TensorSet; placed: readonly Placed[] }> {
    const { decoder, embed, encoders } = this.#parts;
    const ids = batch.inputs.get("input_ids");
    const wanted = decoder.inputs.some(({ name }) => name === "inputs_embeds");
    if (!wanted || embed === undefined || ids === undefined)
      return { inputs: only(batch.inputs, decoder), placed: [] };
    const tokens = await embed.forward({ inputs: only(batch.inputs, embed) }, parameters);
    const data = Float32Array.from(floats(tokens));
    const width = tokens.shape.at(-1)!;
    const placed: Placed[] = [];
    for (const { engine, tokenId } of encoders) {
      const inputs = only(batch.inputs, engine);
      const places = placesOf(ids, tokenId);
      if (inputs.size === 0 && places.length === 0) continue;
      const output = await engine.forward({ ...batch, inputs }, parameters);
      const features = floats(output);
      const count = features.length / width;
      if (count !== places.length)
        throw new FedloomError(
          "F2114",
          `Cannot place media: there must be as many media tokens (${tokenId}) as features, got ${places.length} and ${count}`,
        );
      places.forEach((at, i) => {
        data.set(features.subarray(i * width, (i + 1) * width), at * width);
      });
      placed.push({ engine, places, shape: output.shape });
    }
    if (placed.length > 0) refuseUnknownPositions(decoder, batch.inputs);
    const embeddings = tensor("F32", tokens.shape, data);
    return {
      inputs: only(
        tensorSet([...without(batch.inputs, "inputs_embeds"), ["inputs_embeds", embeddings]]),
        decoder,
      ),
      placed,
    };
  }
}

function enginesBefore({ embed, encoders }: Parts): readonly Engine[] {
  return [...encoders.map(({ engine }) => engine), ...(embed ? [embed] : [])];
}

function placesOf(ids: Tensor, tokenId: number | undefined): readonly number[] {
  const places: number[] = [];
  for (let at = 0; at < ids.data.length; at++) if (Number(ids.data[at]) === tokenId) places.push(at);
  return places;
}

/** On several axes, media count their rows and columns, which their features do not tell. */
function refuseUnknownPositions({ inputs }: Engine, given: TensorSet): void {
  const positions = inputs.find(({ name }) => name === "position_ids");
  if (given.has("position_ids") || positions?.shape.length !== 3) return;
  throw new FedloomError(
    "F2114",
    `Cannot make "position_ids": a batch with media must hold those that the graph wants, [${positions.shape.join(", ")}]`,
  );
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
