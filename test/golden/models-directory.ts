/** The reference models: which graphs and adapters there are, and what PyTorch and PEFT computed with them. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { MEDIA_KINDS, type MediaKind } from "../../training/models/media-kind.ts";
import { addedNorms, type ModelConfig, mediaTokenId, modelConfig } from "../../training/models/model-config.ts";
import type { AddedNorms } from "../../training/onnx/engine.ts";

const manifestSchema = z.object({
  graphs: z.array(z.object({ file: z.string() })),
  reference: z.string(),
  /** One for the model's only kind of media, or one for each kind. */
  media_token_id: z.union([z.int(), z.partialRecord(z.enum(["image", "audio"]), z.int())]).optional(),
  architecture: z.string(),
});

const resultSchema = z.object({
  loss: z.number(),
  losses: z.array(z.number()),
  loss_after_last_step: z.number(),
  outside_the_graph: z.array(z.string()).default([]),
  optimizer: z.object({ lr: z.number(), weight_decay: z.number(), steps: z.int() }),
});

export interface ModelCase {
  readonly name: string;
  /** Absolute paths. */
  readonly decoder: string;
  readonly embed: string | undefined;
  readonly encoders: readonly { readonly file: string; readonly tokenId: number | undefined }[];
  readonly objective: "tokens" | "classes";
  readonly addedNorms: AddedNorms | undefined;
  readonly reference: string;
  readonly adapter: string;
  readonly expected: z.output<typeof resultSchema>;
}

const json = (path: string): unknown => JSON.parse(readFileSync(path, "utf8"));
const folders = (path: string): string[] =>
  readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();

/** Every graph with a loss, with every adapter of its reference. */
export function modelCases(root: string): ModelCase[] {
  return folders(root)
    .filter((name) => existsSync(join(root, name, "manifest.json")))
    .flatMap((name) => {
      const directory = join(root, name);
      const manifest = manifestSchema.parse(json(join(directory, "manifest.json")));
      const configPath = join(directory, "config.json");
      const config = modelConfig.parse(existsSync(configPath) ? json(configPath) : {});
      const files = manifest.graphs.map(({ file }) => file);
      const reference = join(directory, manifest.reference);
      const adapters = folders(reference).filter((a) => existsSync(join(reference, a, "result.json")));
      return combinations(files).flatMap(({ decoder, embed, encoders, others }) =>
        adapters.map((adapter) => ({
          name: `${[name, decoder, ...others].map((part) => part.replace(/^onnx\//, "")).join("/")} ${adapter}`,
          decoder: join(directory, decoder),
          embed: embed && join(directory, embed),
          encoders: encoders.map(({ file, kind }) => ({
            file: join(directory, file),
            tokenId: tokenIdOf(manifest.media_token_id, config, kind, encoders.length === 1),
          })),
          objective: manifest.architecture.includes("Classification") ? ("classes" as const) : ("tokens" as const),
          addedNorms: addedNorms(config),
          reference,
          adapter: join(reference, adapter),
          expected: resultSchema.parse(json(join(reference, adapter, "result.json"))),
        })),
      );
    });
}

interface Combination {
  readonly decoder: string;
  readonly embed: string | undefined;
  readonly encoders: readonly { readonly file: string; readonly kind: MediaKind }[];
  /** Files that are not the first of their kind. */
  readonly others: readonly string[];
}

/** Every decoder with the first of all other graphs, and every other graph with the first decoder. */
function combinations(files: readonly string[]): Combination[] {
  const kinds = Map.groupBy(files, kindOf);
  const [first, ...variants] = kinds.get("decoder") ?? [];
  if (first === undefined) return [];
  const usual = {
    decoder: first,
    embed: kinds.get("embed")?.[0],
    encoders: MEDIA_KINDS.flatMap((kind) => (kinds.get(kind) ?? []).slice(0, 1).map((file) => ({ file, kind }))),
    others: [],
  };
  const exchanged = MEDIA_KINDS.flatMap((kind) =>
    (kinds.get(kind) ?? []).slice(1).map((file) => ({
      ...usual,
      encoders: usual.encoders.map((one) => (one.kind === kind ? { file, kind } : one)),
      others: [file],
    })),
  );
  const embeds = (kinds.get("embed") ?? []).slice(1).map((embed) => ({ ...usual, embed, others: [embed] }));
  return [usual, ...variants.map((decoder) => ({ ...usual, decoder })), ...exchanged, ...embeds];
}

function kindOf(file: string): "decoder" | "embed" | MediaKind {
  const name = file.split("/").at(-1)!;
  if (name.includes("embed_tokens")) return "embed";
  if (!name.includes("encoder")) return "decoder";
  return /audio|speech|sound/.test(name) ? "audio" : "image";
}

type TokenIds = z.output<typeof manifestSchema>["media_token_id"];

/** The manifest's word counts; where it has one for two kinds, config.json tells them apart. */
function tokenIdOf(stated: TokenIds, config: ModelConfig, kind: MediaKind, only: boolean): number | undefined {
  if (typeof stated === "object") return stated[kind];
  return only ? (stated ?? mediaTokenId(config, kind)) : (mediaTokenId(config, kind) ?? stated);
}
