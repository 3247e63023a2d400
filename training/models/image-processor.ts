/**
 * Pictures to the pixel values that a vision encoder was trained on, as preprocessor_config.json describes it.
 *
 * Three families are known. "plain": resize, center crop, rescale, normalize (CLIP, SigLIP, ViT and their kin).
 * "tiles": SmolVLM and Idefics3, where a large picture may be split into a grid of frames, with the whole
 * picture as one more frame. "fitted": Idefics2, scaled to fit between two edges.
 */
import { join } from "node:path";
import { z } from "zod";
import { FedloomError } from "../../base/errors.ts";
import { readJsonIfPresent } from "./json-file.ts";
import { decodePicture } from "./picture.ts";
import { crop, isResampleCode, type Picture, resize } from "./resample.ts";
import { splitIntoTiles } from "./tiles.ts";

/** One picture the encoder sees, [3, height, width]. */
export interface Frame {
  readonly width: number;
  readonly height: number;
  readonly pixels: Float32Array;
}

/** What one image of an example becomes. */
export interface ProcessedImage {
  readonly frames: readonly Frame[];
  /** The grid the image was split into; 0 x 0 where it was not, and then `frames` holds one. */
  readonly rows: number;
  readonly columns: number;
}

export interface ImageProcessor {
  /** "tiles" and "fitted" encoders take [1, frames, 3, H, W] and a pixel mask, "plain" ones [frames, 3, H, W]. */
  readonly family: "plain" | "tiles" | "fitted";
  process(bytes: Uint8Array, name: string): Promise<ProcessedImage>;
}

const edge = z.int().positive();
const size = z.union([
  edge,
  z.object({
    height: edge.optional(),
    width: edge.optional(),
    shortest_edge: edge.optional(),
    longest_edge: edge.optional(),
  }),
]);
const channels = z.union([z.number(), z.array(z.number()).length(3)]);

const schema = z.object({
  image_processor_type: z.string().optional(),
  feature_extractor_type: z.string().optional(),
  do_convert_rgb: z.boolean().nullish(),
  do_resize: z.boolean().nullish(),
  size: size.nullish(),
  max_image_size: z.object({ longest_edge: edge }).nullish(),
  resample: z.int().refine(isResampleCode, "resample codes are 0 to 5").nullish(),
  do_image_splitting: z.boolean().nullish(),
  do_center_crop: z.boolean().nullish(),
  crop_size: size.nullish(),
  do_rescale: z.boolean().nullish(),
  rescale_factor: z.number().positive().nullish(),
  do_normalize: z.boolean().nullish(),
  image_mean: channels.nullish(),
  image_std: channels.nullish(),
});

type Config = z.output<typeof schema>;

interface Family {
  readonly family: ImageProcessor["family"];
  /** What the class takes where the file is silent. */
  readonly defaults: Config;
  /** A bare number as `size`: the shortest edge, or both. */
  readonly bareSize: "shortest_edge" | "square";
}

const HALF = [0.5, 0.5, 0.5];
const CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073];
const CLIP_STD = [0.26862954, 0.26130258, 0.27577711];
const clip: Family = {
  family: "plain",
  bareSize: "shortest_edge",
  defaults: {
    size: 224,
    resample: 3,
    do_center_crop: true,
    crop_size: 224,
    image_mean: CLIP_MEAN,
    image_std: CLIP_STD,
  },
};
const vit: Family = {
  family: "plain",
  bareSize: "square",
  defaults: { size: 224, resample: 2, image_mean: HALF, image_std: HALF },
};
const idefics3: Family = {
  family: "tiles",
  bareSize: "square",
  defaults: {
    size: { longest_edge: 1456 },
    max_image_size: { longest_edge: 364 },
    resample: 1,
    do_image_splitting: true,
    image_mean: HALF,
    image_std: HALF,
  },
};
const idefics2: Family = {
  family: "fitted",
  bareSize: "square",
  defaults: {
    size: { shortest_edge: 378, longest_edge: 980 },
    resample: 2,
    image_mean: HALF,
    image_std: HALF,
  },
};

/** By image_processor_type, without its suffixes "Fast" and "ImageProcessor" or "FeatureExtractor". */
const FAMILIES: Readonly<Record<string, Family>> = {
  CLIP: clip,
  Siglip: { ...vit, defaults: { ...vit.defaults, resample: 3 } },
  ViT: vit,
  DeiT: {
    ...clip,
    bareSize: "square",
    defaults: { ...clip.defaults, size: 256, image_mean: HALF, image_std: HALF },
  },
  Blip: { ...vit, defaults: { size: 384, resample: 3, image_mean: CLIP_MEAN, image_std: CLIP_STD } },
  Idefics3: idefics3,
  SmolVLM: idefics3,
  Idefics2: idefics2,
};

/** @returns undefined where the model directory has no preprocessor_config.json: it takes no images */
export async function openImageProcessor(directory: string): Promise<ImageProcessor | undefined> {
  const path = join(directory, "preprocessor_config.json");
  const config = await readJsonIfPresent(path, schema);
  return config === undefined ? undefined : imageProcessor(config, path);
}

export function imageProcessor(config: Config, path: string): ImageProcessor {
  const type = config.image_processor_type ?? config.feature_extractor_type ?? "";
  const family = FAMILIES[type.replace(/Fast$/, "").replace(/(ImageProcessor|FeatureExtractor)$/, "")];
  if (family === undefined) {
    throw new FedloomError(
      "F2133",
      `Cannot prepare images as "${path}" asks: image_processor_type must be one of ${Object.keys(FAMILIES).join(", ")} (with "ImageProcessor" behind it), got "${type}"`,
      { type, known: Object.keys(FAMILIES) },
    );
  }
  const settings = { ...family.defaults, ...withoutEmpty(config) };
  const normalize = normalizer(settings);
  const shape = (picture: Picture): { frames: Picture[]; rows: number; columns: number } => {
    if (family.family === "tiles") {
      return splitIntoTiles(picture, {
        longestEdge: settings.do_resize === false ? undefined : edgesOf(settings.size, "square").longest_edge,
        tileEdge: settings.max_image_size!.longest_edge,
        split: settings.do_image_splitting === true,
        resample: settings.resample!,
      });
    }
    return { frames: [cropped(resized(picture, settings, family), settings)], rows: 0, columns: 0 };
  };
  return {
    family: family.family,
    async process(bytes, name) {
      const picture = await decodePicture(bytes, name, family.family === "plain" ? "drop" : "white");
      const { frames, rows, columns } = shape(picture);
      return { frames: frames.map(normalize), rows, columns };
    },
  };
}

function withoutEmpty(config: Config): Config {
  return Object.fromEntries(
    Object.entries(config).filter(([, value]) => value !== null && value !== undefined),
  );
}

interface Edges {
  readonly height?: number | undefined;
  readonly width?: number | undefined;
  readonly shortest_edge?: number | undefined;
  readonly longest_edge?: number | undefined;
}

function edgesOf(value: Config["size"], bare: Family["bareSize"]): Edges {
  if (typeof value !== "number") return value ?? {};
  return bare === "square" ? { height: value, width: value } : { shortest_edge: value };
}

function resized(picture: Picture, settings: Config, family: Family): Picture {
  if (settings.do_resize === false) return picture;
  const { width, height } = picture;
  const edges = edgesOf(settings.size, family.bareSize);
  const resample = settings.resample!;
  if (edges.height !== undefined && edges.width !== undefined) {
    return resize(picture, edges.width, edges.height, resample);
  }
  const short = edges.shortest_edge;
  const long = edges.longest_edge;
  if (short !== undefined && long !== undefined) return fitBetween(picture, short, long, resample);
  if (short !== undefined) {
    return width <= height
      ? resize(picture, short, Math.trunc((short * height) / width), resample)
      : resize(picture, Math.trunc((short * width) / height), short, resample);
  }
  throw new FedloomError(
    "F2134",
    `Cannot resize images: "size" wants height and width or shortest_edge, got ${JSON.stringify(edges)}`,
  );
}

/** The longer edge goes to `long` where it is above, the shorter one to `short` where it is below. */
function fitBetween(picture: Picture, short: number, long: number, resample: number): Picture {
  let { width, height } = picture;
  const aspect = width / height;
  if (width >= height && width > long) {
    width = long;
    height = even(Math.trunc(width / aspect));
  } else if (height > width && height > long) {
    height = long;
    width = even(Math.trunc(height * aspect));
  }
  return resize(picture, Math.max(width, short), Math.max(height, short), resample);
}

const even = (edgeLength: number): number => edgeLength + (edgeLength % 2);

function cropped(picture: Picture, settings: Config): Picture {
  if (settings.do_center_crop !== true) return picture;
  const { height, width } = edgesOf(settings.crop_size, "square");
  if (height === undefined || width === undefined) {
    throw new FedloomError("F2134", 'Cannot crop images: "crop_size" wants height and width');
  }
  return crop(
    picture,
    Math.floor((picture.width - width) / 2),
    Math.floor((picture.height - height) / 2),
    width,
    height,
  );
}

/** (sample * rescale_factor - mean) / std, channels first; each step in float32, as the processors compute it. */
function normalizer(settings: Config): (picture: Picture) => Frame {
  const f = Math.fround;
  const scale = settings.do_rescale === false ? 1 : (settings.rescale_factor ?? 1 / 255);
  const perChannel = (value: Config["image_mean"], c: number): number =>
    f(typeof value === "number" ? value : value![c]!);
  // 256 samples a channel are all there are: a table instead of arithmetic for every pixel.
  const tables = [0, 1, 2].map((c) =>
    Float32Array.from({ length: 256 }, (_, sample) => {
      const rescaled = f(sample * scale);
      if (settings.do_normalize === false) return rescaled;
      return f(f(rescaled - perChannel(settings.image_mean, c)) / perChannel(settings.image_std, c));
    }),
  );
  return ({ width, height, data }) => {
    const pixels = new Float32Array(3 * width * height);
    const area = width * height;
    for (let c = 0; c < 3; c++) {
      const table = tables[c]!;
      for (let i = 0; i < area; i++) pixels[c * area + i] = table[data[i * 3 + c]!]!;
    }
    return { width, height, pixels };
  };
}
