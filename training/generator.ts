/** Models that generate text, in one graph or three, as the trainer sees them. */
import type { Adapter } from "../adapters/adapter.ts";
import { createFeatureCache } from "./feature-cache.ts";
import type { Form, OpenForm } from "./form.ts";
import type { TargetModule } from "./fresh-adapter.ts";
import { assertSavedPresent, graphsOf, type RuntimeOptions } from "./graphs.ts";
import { type ImageEncoder, Images } from "./images.ts";
import { loraSpecs, savedModules } from "./lora-specs.ts";
import { openChatTemplate } from "./models/chat-template.ts";
import type { TextModel } from "./models/encode.ts";
import { openImageProcessor } from "./models/image-processor.ts";
import { openImageText } from "./models/image-tokens.ts";
import { contextLength, headSize, imageTokenId } from "./models/model-config.ts";
import type { ModelDirectory } from "./models/model-directory.ts";
import { moduleName } from "./models/module-paths.ts";
import { openTokenizer } from "./models/tokenizer.ts";
import type { Engine } from "./onnx/engine.ts";
import { predictAll } from "./predict.ts";
import type { Embedder } from "./text-embedding.ts";
import { TextLearner } from "./text-learner.ts";
import { type RowMaker, type TextRow, trainingRow } from "./text-rows.ts";
import { TokenEmbeddings } from "./token-embeddings.ts";

export interface GeneratorOptions extends RuntimeOptions {
  /** Bound of the image features that stay in memory. */
  readonly featureBytes?: number;
}

export interface Generator extends Form<TextRow> {
  readonly text: TextModel;
  readonly images: Images | undefined;
  open(adapter: Adapter | undefined): Promise<OpenForm<TextRow> & { readonly learner: TextLearner }>;
}

export async function openGenerator(
  directory: ModelDirectory,
  options: GeneratorOptions,
): Promise<Generator> {
  const { config, graphs: files } = directory;
  const { featureBytes, ...runtime } = options;
  const cache = createFeatureCache(featureBytes);
  const graphs = graphsOf(runtime);
  const close = async (): Promise<void> => {
    await graphs.close();
    await cache.close();
  };
  try {
    const decoder = await graphs.open(files.decoder, { objective: "tokens" });
    const vision = files.vision && (await graphs.open(files.vision, { objective: "none" }));
    const embed = files.embed && (await graphs.open(files.embed, { objective: "none" }));
    const { text, images } = await openTexts(directory, vision ? cache : undefined);
    const embeddings = embed ? new TokenEmbeddings(embed) : undefined;
    const frozenEncoder = vision ? images?.frozen(vision) : undefined;
    const positions = contextLength(config) ?? Number.MAX_SAFE_INTEGER;
    const embedderOf = (encoder: ImageEncoder | undefined): Embedder | undefined =>
      embeddings && { embeddings, encoder, imageTokenId: imageTokenId(config) };
    const known: RowMaker["known"] = new WeakMap();
    const makerFor = (maxLength: number): RowMaker => ({
      text,
      images,
      known,
      limit:
        maxLength <= positions
          ? { tokens: maxLength, reason: "max_length" }
          : { tokens: positions, reason: "the model's max_position_embeddings" },
    });
    const openForm = (
      trained: Engine,
      encoder: ImageEncoder | undefined,
      engines: readonly Engine[],
      wanted: Parameters<typeof graphs.openDecoding>[1],
    ) => {
      let opening: ReturnType<typeof graphs.openDecoding> | undefined;
      const decoding = () =>
        (opening ??= graphs.openDecoding(files.decoder, { ...wanted, headSize: headSize(config) }));
      const learner = new TextLearner({
        decoder: trained,
        embedder: embedderOf(encoder),
        trainable: new Set(engines.flatMap(({ parameters }) => parameters).map(({ name }) => name)),
        padId: text.tokenizer.padId,
        contextLength: positions,
      });
      return {
        learner,
        predict: (parameters, task, examples, signal) =>
          predictAll(
            { learner, maker: makerFor(positions), parameters, batchSize: task.batchSize, signal, decoding },
            task,
            examples,
          ),
        close: async () => {
          await Promise.all(engines.map((engine) => engine.close()));
        },
      } satisfies OpenForm<TextRow>;
    };
    return {
      text,
      images,
      modules: [
        ...named(directory, decoder, embed ? "decoder" : "whole"),
        ...(vision ? named(directory, vision, "vision") : []),
      ],
      async initialValues(modulesToSave) {
        const engine = await graphs.open(files.decoder, { objective: "tokens", saved: modulesToSave });
        assertSavedPresent(modulesToSave, [engine]);
        return engine.initialValues();
      },
      trainingRow: (example, maxLength) => trainingRow(makerFor(maxLength), example),
      async open(adapter, { recompute = false } = {}) {
        if (adapter === undefined) return openForm(decoder, frozenEncoder, [], {});
        const saved = savedModules(adapter);
        const wanted = { lora: loraSpecs(adapter), saved, dropout: adapter.config.dropout, recompute };
        const trained = await graphs.open(files.decoder, { objective: "tokens", ...wanted });
        // What the decoder lacks may be the encoder's.
        const encoder =
          files.vision && trained.absent.length > 0
            ? await graphs.open(files.vision, { objective: "none", ...wanted })
            : undefined;
        assertSavedPresent(saved, encoder ? [trained, encoder] : [trained]);
        if (!encoder || encoder.parameters.length === 0)
          return openForm(trained, frozenEncoder, [trained], wanted);
        await trained.close();
        const inputGradients = ["inputs_embeds"];
        const both = await graphs.open(files.decoder, { objective: "tokens", ...wanted, inputGradients });
        return openForm(both, images?.trained(encoder), [both, encoder], wanted);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** @param cache absent for a model that takes no images */
async function openTexts(
  { path, config }: ModelDirectory,
  cache: ReturnType<typeof createFeatureCache> | undefined,
): Promise<{ text: TextModel; images: Images | undefined }> {
  const tokenizer = await openTokenizer(path, config);
  const template = await openChatTemplate(path, {
    bos_token: tokenizer.beginToken ?? "",
    eos_token: tokenizer.endToken ?? "",
  });
  const processor = cache && (await openImageProcessor(path));
  const tokenId = imageTokenId(config);
  const token = tokenId === undefined ? undefined : tokenizer.tokenOf(tokenId);
  if (!processor || token === undefined)
    return { text: { tokenizer, template, image: undefined }, images: undefined };
  const image = { token, text: await openImageText(path, config, processor.family, token) };
  return { text: { tokenizer, template, image }, images: new Images(processor, cache) };
}

function named(
  { config }: ModelDirectory,
  engine: Engine,
  graph: "whole" | "decoder" | "vision",
): TargetModule[] {
  return engine.modules.map((module) => ({
    ...moduleName(config, graph, module.path),
    in: module.in,
    out: module.out,
  }));
}
