/** Models that name the class of a text or a picture, as the trainer sees them. */
import type { TensorSet } from "../adapters/tensor.ts";
import { FedloomError } from "../base/errors.ts";
import type { Example } from "../data/example.ts";
import { ClassLearner, type ClassRow } from "./class-learner.ts";
import { createFeatureCache } from "./feature-cache.ts";
import type { Form, OpenForm } from "./form.ts";
import { createFrontCache } from "./front-states.ts";
import { assertSavedPresent, graphsOf, hintsOf, initialValuesOf, type RuntimeOptions } from "./graphs.ts";
import { assertNotAborted } from "./learner.ts";
import { loraSpecs, savedModules } from "./lora-specs.ts";
import { MediaFiles } from "./media.ts";
import { openImageProcessor } from "./models/image-processor.ts";
import { contextLength } from "./models/model-config.ts";
import type { ModelDirectory } from "./models/model-directory.ts";
import { openTokenizer, type Tokenizer } from "./models/tokenizer.ts";
import { asTheModelHas } from "./onnx/targets/packed.ts";
import type { Prediction, PredictTask } from "./trainer.ts";

/** What an example's input is made with: the words of its user turns, or its one image. */
interface Reader {
  readonly tokenizer: Tokenizer | undefined;
  readonly images: MediaFiles | undefined;
  /** Longest text in tokens. */
  readonly positions: number;
}

export interface ClassifierOptions extends RuntimeOptions {
  /** Bound of the decoded pictures that stay in memory. */
  readonly featureBytes?: number;
}

export async function openClassifier(
  directory: ModelDirectory,
  { featureBytes, ...runtime }: ClassifierOptions,
): Promise<Form<ClassRow>> {
  const { config, path, task, graphs: files } = directory;
  const classes = classNames(directory);
  const cache = createFeatureCache(featureBytes);
  const fronts = await createFrontCache();
  const graphs = graphsOf(runtime, hintsOf(directory));
  const close = async (): Promise<void> => {
    await graphs.close();
    await cache.close();
    await fronts.close();
  };
  try {
    const base = await graphs.open(files.decoder, { objective: "classes" });
    const processor = task === "image-classification" ? await openImageProcessor(path) : undefined;
    const tokenizer = task === "text-classification" ? await openTokenizer(path, config) : undefined;
    if (task === "image-classification" && processor === undefined) {
      throw new FedloomError("F2101", `Cannot use the model: "${path}/preprocessor_config.json" is missing`, {
        path,
      });
    }
    const reader: Reader = {
      tokenizer,
      images: processor && new MediaFiles(processor, cache),
      positions: contextLength(config) ?? Number.MAX_SAFE_INTEGER,
    };
    return {
      modules: asTheModelHas(base.modules).map((module) => ({
        path: module.path,
        part: "decoder",
        in: module.in,
        out: module.out,
      })),
      async initialValues(modulesToSave) {
        const paths = [...base.modules.map(({ path }) => path), ...base.named];
        return initialValuesOf(graphs, modulesToSave, [{ path: files.decoder, objective: "classes", paths }]);
      },
      trainingRow: async (example, maxLength) =>
        labelled(await rowOf(reader, example, maxLength, classes), example, classes),
      async open(adapter, { recompute = false } = {}) {
        const saved = adapter === undefined ? [] : savedModules(adapter);
        const engine =
          adapter === undefined
            ? base
            : await graphs.open(files.decoder, {
                objective: "classes",
                lora: loraSpecs(adapter),
                saved,
                dropout: adapter.config.dropout,
                recompute,
              });
        assertSavedPresent(saved, [engine]);
        const common = {
          engine,
          images: reader.images,
          padId: tokenizer?.padId ?? 0,
          contextLength: reader.positions,
        };
        const learner = new ClassLearner(common);
        return {
          learner,
          repeating: new ClassLearner({ ...common, fronts }),
          predict: (...asked) => predict(learner, reader, classes, ...asked),
          close: async () => {
            if (engine !== base) await engine.close();
          },
        } satisfies OpenForm<ClassRow>;
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Names of the classes by index. */
function classNames({ config, path }: ModelDirectory): readonly string[] {
  const names = Object.entries(config.id2label ?? {});
  if (names.length === 0) {
    throw new FedloomError(
      "F2134",
      `Cannot use the classifier in "${path}": its config.json has no id2label`,
      { path },
    );
  }
  const byIndex: string[] = [];
  for (const [index, name] of names) byIndex[Number(index)] = name;
  return byIndex;
}

async function rowOf(
  { tokenizer, images, positions }: Reader,
  example: Example,
  maxLength: number,
  classes: readonly string[],
): Promise<ClassRow> {
  const { id } = example;
  const answer = example.label ?? example.turns.findLast(({ role }) => role === "assistant")?.content;
  const index = answer === undefined ? -1 : classes.indexOf(answer);
  const numbered = answer !== undefined && /^\d+$/.test(answer) && Number(answer) < classes.length;
  const label = index >= 0 ? index : numbered ? Number(answer) : undefined;
  if (images !== undefined) {
    if (example.images.length !== 1) {
      throw new FedloomError(
        "F2139",
        `Cannot use example "${id}": one image is wanted, got ${example.images.length}`,
        {
          example: id,
        },
      );
    }
    const image = await images.open(example.images[0]!);
    const touched = { text: false, image: true, audio: false };
    return { id, length: 1, touched, label, ids: new Int32Array(), image };
  }
  const text = example.turns
    .filter(({ role }) => role === "user")
    .map(({ content }) => content)
    .join("\n");
  // A model without images has a tokenizer.
  const ids = Int32Array.from(tokenizer!.encode(text, { special: true }));
  const limit = Math.min(maxLength, positions);
  if (ids.length > limit) {
    throw new FedloomError(
      "F2132",
      `Cannot use example "${id}": at most ${limit} tokens are allowed (${limit === maxLength ? "max_length" : "the model's max_position_embeddings"}), got ${ids.length}`,
      { example: id, limit, got: ids.length },
    );
  }
  const touched = { text: true, image: false, audio: false };
  return { id, length: ids.length, touched, label, ids, image: undefined };
}

function labelled(row: ClassRow, example: Example, classes: readonly string[]): ClassRow {
  if (row.label !== undefined) return row;
  throw new FedloomError(
    "F2139",
    `Cannot train on example "${row.id}": its label must be one of ${classes.map((name) => `"${name}"`).join(", ")}, got ${example.label === undefined ? "none" : `"${example.label}"`}`,
    { example: row.id, classes },
  );
}

async function predict(
  learner: ClassLearner,
  reader: Reader,
  classes: readonly string[],
  parameters: TensorSet,
  task: Omit<PredictTask, "adapter">,
  examples: readonly Example[],
  signal: AbortSignal | undefined,
): Promise<Prediction[]> {
  const predictions: Prediction[] = [];
  for (let from = 0; from < examples.length; from += task.batchSize) {
    assertNotAborted(signal, "Prediction");
    const batch = examples.slice(from, from + task.batchSize);
    const rows: ClassRow[] = [];
    for (const example of batch) rows.push(await rowOf(reader, example, reader.positions, classes));
    const scores = await learner.logProbabilities(rows, parameters);
    batch.forEach(({ id, options }, r) => {
      const of = (name: string): number => scores[r]![classes.indexOf(name)] ?? Number.NEGATIVE_INFINITY;
      const names = options ?? classes;
      const optionScores = names.map(of);
      const { label } = rows[r]!;
      predictions.push({
        id,
        text: names[optionScores.indexOf(Math.max(...optionScores))]!,
        optionScores,
        ...(task.loss === true && label !== undefined ? { loss: -scores[r]![label]!, tokens: 1 } : {}),
      });
    });
  }
  return predictions;
}
