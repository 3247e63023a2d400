/** The reference models: which graphs and adapters there are, and what PyTorch and PEFT computed with them. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { addedNorms } from "../../training/models/model-config.ts";
import type { AddedNorms } from "../../training/onnx/engine.ts";

const manifestSchema = z.object({
  graphs: z.array(z.object({ file: z.string() })),
  reference: z.string(),
  media_token_id: z.int().optional(),
  architecture: z.string(),
});

const configSchema = z.object({
  model_type: z.string().default(""),
  text_config: z.object({ model_type: z.string().default("") }).nullish(),
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
  readonly encoder: string | undefined;
  readonly mediaTokenId: number | undefined;
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
      const config = configSchema.parse(json(join(directory, "config.json")));
      const files = manifest.graphs.map(({ file }) => file);
      const find = (pattern: RegExp): string | undefined => {
        const file = files.find((candidate) => pattern.test(candidate));
        return file && join(directory, file);
      };
      const reference = join(directory, manifest.reference);
      const adapters = folders(reference).filter((a) => existsSync(join(reference, a, "result.json")));
      const decoders = files.filter((file) => !/(encoder|embed_tokens)[^/]*$/.test(file));
      return decoders.flatMap((file) =>
        adapters.map((adapter) => ({
          name: `${name}/${file.replace(/^onnx\//, "")} ${adapter}`,
          decoder: join(directory, file),
          embed: find(/embed_tokens[^/]*$/),
          encoder: find(/encoder[^/]*$/),
          mediaTokenId: manifest.media_token_id,
          objective: manifest.architecture.includes("Classification") ? ("classes" as const) : ("tokens" as const),
          addedNorms: addedNorms(config),
          reference,
          adapter: join(reference, adapter),
          expected: resultSchema.parse(json(join(reference, adapter, "result.json"))),
        })),
      );
    });
}
