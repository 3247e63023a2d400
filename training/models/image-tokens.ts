/**
 * What stands in the prompt for one image: as many image tokens as the vision encoder gives feature rows, with
 * the marks that the model's processor puts around them.
 */
import { join } from "node:path";
import { z } from "zod";
import { FedloomError } from "../../base/errors.ts";
import type { ImageProcessor } from "./image-processor.ts";
import { readJsonIfPresent } from "./json-file.ts";
import type { Placeholder } from "./media-kind.ts";
import type { ModelConfig } from "./model-config.ts";

type ImageText = Placeholder["text"];

const schema = z.object({
  image_seq_len: z.int().positive().nullish(),
  patch_size: z.int().positive().nullish(),
  vision_feature_select_strategy: z.string().nullish(),
  num_additional_image_tokens: z.int().min(0).nullish(),
});

const AROUND = "<fake_token_around_image>";
const GLOBAL = "<global-img>";

export async function openImageText(
  directory: string,
  config: ModelConfig,
  family: ImageProcessor["family"],
  imageToken: string,
): Promise<ImageText> {
  const settings = (await readJsonIfPresent(join(directory, "processor_config.json"), schema)) ?? {};
  const { image_size: imageSize, patch_size: configPatch } = config.vision_config ?? {};
  switch (family) {
    case "tiles": {
      const perEdge =
        imageSize && configPatch && config.scale_factor
          ? imageSize / configPatch / config.scale_factor
          : undefined;
      const count = settings.image_seq_len ?? (perEdge === undefined ? undefined : Math.trunc(perEdge ** 2));
      return tiled(imageToken.repeat(count ?? unknownCount(directory)));
    }
    case "fitted":
      return () => AROUND + imageToken.repeat(settings.image_seq_len ?? 64) + AROUND;
    case "plain": {
      const patch = settings.patch_size ?? configPatch;
      const strategy = settings.vision_feature_select_strategy ?? config.vision_feature_select_strategy;
      const patches = imageSize && patch ? Math.trunc(imageSize / patch) ** 2 : undefined;
      // Processors saved before the field existed meant the class token of CLIP: 1.
      const counted =
        patches === undefined || !strategy
          ? undefined
          : patches + (settings.num_additional_image_tokens ?? 1) - (strategy === "default" ? 1 : 0);
      const text = imageToken.repeat(config.image_seq_length ?? counted ?? unknownCount(directory));
      return () => text;
    }
    default:
      return family satisfies never;
  }
}

function tiled(tokens: string): ImageText {
  return ({ rows, columns }) => {
    const whole = `${AROUND}${GLOBAL}${tokens}${AROUND}`;
    if (rows === 0) return whole;
    const row = (r: number): string =>
      Array.from({ length: columns }, (_, c) => `${AROUND}<row_${r + 1}_col_${c + 1}>${tokens}`).join("");
    return `${Array.from({ length: rows }, (_, r) => `${row(r)}\n`).join("")}\n${whole}`;
  };
}

function unknownCount(directory: string): never {
  throw new FedloomError(
    "F2133",
    `Cannot write image tokens for the model in "${directory}": neither processor_config.json (image_seq_len, patch_size) nor config.json (image_seq_length) tells how many an image has`,
    { directory },
  );
}
