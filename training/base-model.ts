/** A model directory opened for training: its texts, images and frozen graphs, and its trained graph on demand. */
import type { Adapter } from "../adapters/adapter.ts";
import { createFeatureCache, type FeatureCache } from "./feature-cache.ts";
import type { TargetModule } from "./fresh-adapter.ts";
import { type ImageEncoder, Images } from "./images.ts";
import { loraSpecs } from "./lora-specs.ts";
import { baseHash } from "./models/base-hash.ts";
import { openChatTemplate } from "./models/chat-template.ts";
import type { TextModel } from "./models/encode.ts";
import { openImageProcessor } from "./models/image-processor.ts";
import { openImageText } from "./models/image-tokens.ts";
import { contextLength, imageTokenId } from "./models/model-config.ts";
import { type ModelDirectory, openModelDirectory, type Precision } from "./models/model-directory.ts";
import { moduleName } from "./models/module-paths.ts";
import { openTokenizer } from "./models/tokenizer.ts";
import { openGraphFile } from "./onnx/edge/files.ts";
import type { Device, Engine, EngineOptions, GraphFile } from "./onnx/engine.ts";
import { openEngine } from "./onnx/open.ts";
import type { Embedder } from "./text-embedding.ts";
import { TextLearner } from "./text-learner.ts";
import type { RowMaker } from "./text-rows.ts";
import { TokenEmbeddings } from "./token-embeddings.ts";

export interface BaseModelOptions {
  /** Model directory in the hub's layout. */
  readonly model: string;
  readonly device?: Device;
  /** Threads of the runtime; its own choice where absent. */
  readonly threads?: number;
  /** Which of the directory's graphs to take; the best for training where absent. */
  readonly precision?: Precision;
  /** Bound of the image features that stay in memory. */
  readonly featureBytes?: number;
}

export interface BaseModel {
  readonly directory: ModelDirectory;
  readonly hash: string;
  readonly text: TextModel;
  readonly images: Images | undefined;
  readonly contextLength: number;
  /** Linear layers that LoRA can stand beside, by their paths in the whole model. */
  readonly modules: readonly TargetModule[];
  /** What rows are made with when no more than `maxLength` tokens are allowed. */
  rowMaker(maxLength: number): RowMaker;
  /** A learner for adapters of this one's form; undefined: the base alone. The caller closes its engine. */
  openLearner(adapter: Adapter | undefined): Promise<{ learner: TextLearner; close(): Promise<void> }>;
  close(): Promise<void>;
}

export async function openBaseModel(options: BaseModelOptions): Promise<BaseModel> {
  const directory = await openModelDirectory(options.model, options.precision);
  const { config, graphs, path } = directory;
  const hash = await baseHash(directory);
  const tokenizer = await openTokenizer(path, config);
  const template = await openChatTemplate(path, {
    bos_token: tokenizer.beginToken ?? "",
    eos_token: tokenizer.endToken ?? "",
  });
  const engines: Engine[] = [];
  const cache: FeatureCache = createFeatureCache(options.featureBytes);
  const close = async (): Promise<void> => {
    await Promise.all(engines.map((engine) => engine.close()));
    await cache.close();
  };
  const files = new Map<string, GraphFile>();
  const open = async (
    graph: string,
    more: Pick<EngineOptions, "objective"> & Partial<EngineOptions>,
  ): Promise<Engine> => {
    const file = files.get(graph) ?? openGraphFile(graph);
    files.set(graph, file);
    return openEngine({
      file,
      lora: [],
      ...(options.device === undefined ? {} : { device: options.device }),
      ...(options.threads === undefined ? {} : { threads: options.threads }),
      ...more,
    });
  };
  try {
    const frozen = async (graph: string): Promise<Engine> => {
      const engine = await open(graph, { objective: "none" });
      engines.push(engine);
      return engine;
    };
    const decoder = await open(graphs.decoder, { objective: "tokens" });
    engines.push(decoder);
    const vision = graphs.vision === undefined ? undefined : await frozen(graphs.vision);
    const processor = vision === undefined ? undefined : await openImageProcessor(path);
    const images = vision && processor ? new Images(processor, cache) : undefined;
    const tokenId = imageTokenId(config);
    const token = tokenId === undefined ? undefined : tokenizer.tokenOf(tokenId);
    const text: TextModel = {
      tokenizer,
      template,
      image:
        processor && token
          ? { token, text: await openImageText(path, config, processor.family, token) }
          : undefined,
    };
    const embeddings =
      graphs.embed === undefined ? undefined : new TokenEmbeddings(await frozen(graphs.embed));
    const embedderOf = (encoder: ImageEncoder | undefined): Embedder | undefined =>
      embeddings && { embeddings, encoder, imageTokenId: tokenId };
    const frozenEncoder = vision && images?.frozen(vision);
    const positions = contextLength(config) ?? Number.MAX_SAFE_INTEGER;
    const named = (engine: Engine | undefined, graph: "whole" | "decoder" | "vision"): TargetModule[] =>
      (engine?.modules ?? []).map((module) => ({
        ...moduleName(config, graph, module.path),
        in: module.in,
        out: module.out,
      }));
    return {
      directory,
      hash,
      text,
      images,
      contextLength: positions,
      modules: [
        ...named(decoder, embeddings === undefined ? "whole" : "decoder"),
        ...named(vision, "vision"),
      ],
      rowMaker: (maxLength) => ({
        text,
        images,
        limit:
          maxLength <= positions
            ? { tokens: maxLength, reason: "max_length" }
            : { tokens: positions, reason: "the model's max_position_embeddings" },
      }),
      async openLearner(adapter) {
        const rest = { padId: tokenizer.padId, contextLength: positions };
        if (adapter === undefined) {
          const learner = new TextLearner({
            decoder,
            embedder: embedderOf(frozenEncoder),
            trainable: new Set(),
            ...rest,
          });
          return { learner, close: async () => {} };
        }
        const { modulesToSave: saved, dropout } = adapter.config;
        const lora = { lora: loraSpecs(adapter), saved, dropout };
        let trained = await open(graphs.decoder, { objective: "tokens", ...lora });
        // What the decoder lacks may be the encoder's; opening a graph is cheap until it runs.
        const encoder =
          graphs.vision === undefined || trained.absent.length === 0
            ? undefined
            : await open(graphs.vision, { objective: "none", ...lora });
        const encoderTrains = encoder !== undefined && encoder.parameters.length > 0;
        if (encoderTrains) {
          await trained.close();
          trained = await open(graphs.decoder, {
            objective: "tokens",
            ...lora,
            inputGradients: ["inputs_embeds"],
          });
        }
        const parameters = [...trained.parameters, ...(encoder?.parameters ?? [])];
        const learner = new TextLearner({
          decoder: trained,
          embedder: embedderOf(encoderTrains ? images?.trained(encoder) : frozenEncoder),
          trainable: new Set(parameters.map(({ name }) => name)),
          ...rest,
        });
        return {
          learner,
          async close() {
            await trained.close();
            await encoder?.close();
          },
        };
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
