/** Models that generate text, in one graph or three, as the trainer sees them. */
import type { Adapter } from "../adapters/adapter.ts";
import { createFeatureCache, type FeatureCache } from "./feature-cache.ts";
import type { Form, OpenForm } from "./form.ts";
import type { TargetModule } from "./fresh-adapter.ts";
import { createFrontCache } from "./front-states.ts";
import {
  assertSavedPresent,
  graphsOf,
  hintsOf,
  initialValuesOf,
  type RuntimeOptions,
  type SavableGraph,
} from "./graphs.ts";
import { loraSpecs, savedModules } from "./lora-specs.ts";
import { type MediaEncoder, MediaFiles } from "./media.ts";
import { openChatTemplate } from "./models/chat-template.ts";
import type { TextModel } from "./models/encode.ts";
import { openImageProcessor } from "./models/image-processor.ts";
import { openImageText } from "./models/image-tokens.ts";
import type { MediaKind, Placeholder } from "./models/media-kind.ts";
import { contextLength, headSize, mediaTokenId } from "./models/model-config.ts";
import type { ModelDirectory } from "./models/model-directory.ts";
import { moduleName } from "./models/module-paths.ts";
import { openSoundProcessor } from "./models/sound-processor.ts";
import { openTokenizer, type Tokenizer } from "./models/tokenizer.ts";
import type { Engine } from "./onnx/engine.ts";
import { asTheModelHas } from "./onnx/targets/packed.ts";
import { predictAll } from "./predict.ts";
import type { Embedder } from "./text-embedding.ts";
import { TextLearner } from "./text-learner.ts";
import { type RowMaker, type TextRow, trainingRow } from "./text-rows.ts";
import { TokenEmbeddings } from "./token-embeddings.ts";

export interface GeneratorOptions extends RuntimeOptions {
  /** Bound of the encoders' features that stay in memory. */
  readonly featureBytes?: number;
}

export interface Generator extends Form<TextRow> {
  readonly text: TextModel;
  readonly images: MediaFiles | undefined;
  readonly sounds: MediaFiles | undefined;
  open(adapter: Adapter | undefined): Promise<OpenForm<TextRow> & { readonly learner: TextLearner }>;
}

export async function openGenerator(
  directory: ModelDirectory,
  options: GeneratorOptions,
): Promise<Generator> {
  const { config, graphs: files } = directory;
  const { featureBytes, ...runtime } = options;
  const cache = createFeatureCache(featureBytes);
  const fronts = await createFrontCache();
  const graphs = graphsOf(runtime, hintsOf(directory));
  const close = async (): Promise<void> => {
    await graphs.close();
    await cache.close();
    await fronts.close();
  };
  try {
    const decoder = await graphs.open(files.decoder, { objective: "tokens" });
    const vision = files.vision && (await graphs.open(files.vision, { objective: "none" }));
    const embed = files.embed && (await graphs.open(files.embed, { objective: "none" }));
    const hearing = files.audio && (await graphs.open(files.audio, { objective: "none" }));
    const tokenizer = await openTokenizer(directory.path, config);
    const image = vision ? await openPictures(directory, tokenizer, vision, cache) : undefined;
    const audio = hearing ? await openSounds(directory, tokenizer, hearing, cache) : undefined;
    const media = [image, audio].filter((one) => one !== undefined);
    const text: TextModel = {
      tokenizer,
      template: await openChatTemplate(directory.path, {
        bos_token: tokenizer.beginToken ?? "",
        eos_token: tokenizer.endToken ?? "",
      }),
      image: image?.placeholder,
      audio: audio?.placeholder,
    };
    const [images, sounds] = [image?.files, audio?.files];
    const embeddings = embed ? new TokenEmbeddings(embed) : undefined;
    const positions = contextLength(config) ?? Number.MAX_SAFE_INTEGER;
    /**
     * @param trained engines of the encoders that are trained, the others are frozen
     * @param table engine of the embeddings where they are trained
     * @param fronts as MediaFiles.trained takes it
     */
    const embedderOf = (
      trained: ReadonlyMap<MediaKind, Engine>,
      table: Engine | undefined,
      fronts?: FeatureCache,
    ): Embedder | undefined =>
      embeddings && {
        embeddings: table ? new TokenEmbeddings(table) : embeddings,
        encoders: new Map(
          media.map(({ kind, tokenId, files, engine }) => {
            const own = trained.get(kind);
            const encoder: MediaEncoder = own ? files.trained(own, fronts) : files.frozen(engine);
            return [kind, { encoder, tokenId }];
          }),
        ),
      };
    const known: RowMaker["known"] = new WeakMap();
    const makerFor = (maxLength: number): RowMaker => ({
      text,
      images,
      sounds,
      known,
      limit:
        maxLength <= positions
          ? { tokens: maxLength, reason: "max_length" }
          : { tokens: positions, reason: "the model's max_position_embeddings" },
    });
    const openForm = (
      trained: Engine,
      { encoders, table, engines }: TrainedBefore & { readonly engines: readonly Engine[] },
      wanted: Parameters<typeof graphs.openDecoding>[1],
    ) => {
      let opening: ReturnType<typeof graphs.openDecoding> | undefined;
      const decoding = () =>
        (opening ??= graphs.openDecoding(files.decoder, { ...wanted, headSize: headSize(config) }));
      const common = {
        decoder: trained,
        embedder: embedderOf(encoders, table),
        trainable: namesOf(engines.flatMap(({ parameters }) => parameters)),
        tables: namesOf(engines.flatMap(({ parameters }) => parameters.filter(({ table }) => table))),
        padId: text.tokenizer.padId,
        contextLength: positions,
      };
      const learner = new TextLearner(common);
      // What is trained before the decoder moves all that enters it.
      const isFirst = engines.every((engine) => engine === trained);
      return {
        learner,
        repeating: new TextLearner({
          ...common,
          embedder: embedderOf(encoders, table, fronts),
          fronts: isFirst ? fronts : undefined,
        }),
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
      sounds,
      modules: [
        ...modulesOf(directory, decoder, embed ? "decoder" : "whole"),
        ...(vision ? modulesOf(directory, vision, "vision") : []),
        ...(hearing ? modulesOf(directory, hearing, "audio") : []),
      ],
      async initialValues(modulesToSave) {
        const form = embed ? "decoder" : "whole";
        const from: SavableGraph[] = [
          { path: files.decoder, objective: "tokens", paths: pathsIn(directory, decoder, form) },
        ];
        const encoders = [
          [files.vision, vision, "vision"],
          [files.audio, hearing, "audio"],
        ] as const;
        for (const [path, engine, graph] of encoders) {
          if (path && engine)
            from.push({ path, objective: "none", paths: pathsIn(directory, engine, graph) });
        }
        if (files.embed && embed)
          from.push({ path: files.embed, objective: "none", paths: pathsIn(directory, embed, "embed") });
        return initialValuesOf(graphs, modulesToSave, from);
      },
      trainingRow: (example, maxLength) => trainingRow(makerFor(maxLength), example),
      async open(adapter, { recompute = false } = {}) {
        if (adapter === undefined) return openForm(decoder, { encoders: new Map(), engines: [] }, {});
        const saved = savedModules(adapter);
        const wanted = { lora: loraSpecs(adapter), saved, dropout: adapter.config.dropout, recompute };
        const trained = await graphs.open(files.decoder, { objective: "tokens", ...wanted });
        // What the decoder lacks may be an encoder's.
        const encoders = new Map<MediaKind, Engine>();
        for (const [kind, path] of [["image", files.vision] as const, ["audio", files.audio] as const]) {
          if (path === undefined || trained.absent.length === 0) continue;
          const encoder = await graphs.open(path, { objective: "none", ...wanted });
          encoders.set(kind, encoder);
        }
        const wantsTable = files.embed !== undefined && saved.some((path) => trained.absent.includes(path));
        const opened = wantsTable ? await graphs.open(files.embed!, { objective: "none", saved }) : undefined;
        assertSavedPresent(saved, [trained, ...encoders.values(), ...(opened ? [opened] : [])]);
        for (const [kind, encoder] of encoders) {
          if (encoder.parameters.length > 0) continue;
          await encoder.close();
          encoders.delete(kind);
        }
        const table = opened && opened.parameters.length > 0 ? opened : undefined;
        if (table === undefined) await opened?.close();
        const before = [...encoders.values(), ...(table ? [table] : [])];
        if (before.length === 0) return openForm(trained, { encoders, engines: [trained] }, wanted);
        await trained.close();
        const inputGradients = ["inputs_embeds"];
        const both = await graphs.open(files.decoder, { objective: "tokens", ...wanted, inputGradients });
        return openForm(both, { encoders, ...(table && { table }), engines: [both, ...before] }, wanted);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Engines of what stands before the decoder, where it is trained. */
interface TrainedBefore {
  readonly encoders: ReadonlyMap<MediaKind, Engine>;
  /** Of the embeddings. */
  readonly table?: Engine;
}

/** A kind of media that the model takes. */
interface TakenMedia {
  readonly kind: MediaKind;
  readonly tokenId: number;
  readonly placeholder: Placeholder;
  readonly files: MediaFiles;
  /** The encoder of the base alone. */
  readonly engine: Engine;
}

async function openPictures(
  { path, config }: ModelDirectory,
  tokenizer: Tokenizer,
  engine: Engine,
  cache: FeatureCache,
): Promise<TakenMedia | undefined> {
  const processor = await openImageProcessor(path);
  const tokenId = mediaTokenId(config, "image");
  const token = tokenId === undefined ? undefined : tokenizer.tokenOf(tokenId);
  if (!processor || tokenId === undefined || token === undefined) return undefined;
  const placeholder = { token, text: await openImageText(path, config, processor.family, token) };
  return { kind: "image", tokenId, placeholder, files: new MediaFiles(processor, cache), engine };
}

/** Sounds stand in the prompt as long as their encoder's output is; what stands around them is the template's. */
async function openSounds(
  { path, config }: ModelDirectory,
  tokenizer: Tokenizer,
  engine: Engine,
  cache: FeatureCache,
): Promise<TakenMedia | undefined> {
  const processor = await openSoundProcessor(path);
  const tokenId = mediaTokenId(config, "audio");
  const token = tokenId === undefined ? undefined : tokenizer.tokenOf(tokenId);
  if (!processor || tokenId === undefined || token === undefined) return undefined;
  const placeholder: Placeholder = { token, text: ({ columns }) => token.repeat(columns) };
  const files = new MediaFiles(processor, cache, { counter: engine });
  return { kind: "audio", tokenId, placeholder, files, engine };
}

function namesOf(parameters: readonly { readonly name: string }[]): ReadonlySet<string> {
  return new Set(parameters.map(({ name }) => name));
}

function pathsIn(
  { config }: ModelDirectory,
  { modules, named }: Engine,
  graph: "whole" | "decoder" | "vision" | "audio" | "embed",
): readonly string[] {
  return [...modules.map(({ path }) => path), ...named].map((path) => moduleName(config, graph, path).path);
}

function modulesOf(
  { config }: ModelDirectory,
  engine: Engine,
  graph: "whole" | "decoder" | "vision" | "audio",
): TargetModule[] {
  return asTheModelHas(engine.modules).map((module) => ({
    ...moduleName(config, graph, module.path),
    in: module.in,
    out: module.out,
  }));
}
