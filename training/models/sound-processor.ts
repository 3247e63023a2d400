/** Sounds to the features that an audio encoder was trained on, as preprocessor_config.json describes it. */
import { join } from "node:path";
import { z } from "zod";
import { FedloomError } from "../../base/errors.ts";
import type { ProcessedImage } from "./image-processor.ts";
import { readJsonIfPresent } from "./json-file.ts";
import { type LogMel, logMel } from "./log-mel.ts";
import { atRate } from "./sound-rate.ts";
import { decodeWav } from "./wav.ts";

export interface SoundProcessor {
  readonly family: "spectrogram";
  /** One frame: a spectrogram is a picture of one channel, as wide as it is long and as high as it has filters. */
  process(bytes: Uint8Array, name: string): Promise<ProcessedImage>;
}

const schema = z
  .object({
    feature_extractor_type: z.string().nullish(),
    feature_size: z.int().positive().default(80),
    sampling_rate: z.int().positive().default(16_000),
    hop_length: z.int().positive().default(160),
    n_fft: z.int().positive().default(400),
    /** Seconds that every sound is padded to. */
    chunk_length: z.number().positive().default(30),
    padding_value: z.number().default(0),
    padding_side: z.literal("right").default("right"),
    dither: z.literal(0).default(0),
    do_normalize: z.literal(false).nullish(),
  })
  .refine(({ chunk_length, sampling_rate, n_fft }) => chunk_length * sampling_rate > n_fft, {
    path: ["chunk_length"],
    message: "must be longer than a window (n_fft)", // which is mirrored at the sound's ends
  });

const KNOWN = "WhisperFeatureExtractor";

/** @returns undefined where the model directory has no preprocessor_config.json: it takes no sounds */
export async function openSoundProcessor(directory: string): Promise<SoundProcessor | undefined> {
  const path = join(directory, "preprocessor_config.json");
  const config = await readJsonIfPresent(path, z.looseObject({}));
  return config === undefined ? undefined : soundProcessor(config, path);
}

/** What the file says is judged at the first sound: the model may be trained on texts and pictures all the same. */
export function soundProcessor(config: Readonly<Record<string, unknown>>, path: string): SoundProcessor {
  let known: { readonly settings: z.output<typeof schema>; readonly mel: LogMel } | undefined;
  const open = (): NonNullable<typeof known> => {
    const type = config.feature_extractor_type;
    if (type !== KNOWN) {
      throw new FedloomError(
        "F2133",
        `Cannot prepare sounds as "${path}" asks: feature_extractor_type must be ${KNOWN}, got ${JSON.stringify(type)}`,
        { type, known: [KNOWN] },
      );
    }
    const parsed = schema.safeParse(config);
    if (!parsed.success) {
      const { path: key, message } = parsed.error.issues[0]!;
      throw new FedloomError("F2134", `Cannot use "${path}": ${key.join(".")}: ${message}`, { path });
    }
    const { feature_size: bins, sampling_rate: rate, hop_length: hop, n_fft: window } = parsed.data;
    return { settings: parsed.data, mel: logMel({ bins, rate, hop, window }) };
  };
  return {
    family: "spectrogram",
    async process(bytes, name) {
      known ??= open();
      const { settings, mel } = known;
      const sound = decodeWav(bytes, name);
      const seconds = sound.samples.length / sound.rate;
      if (seconds > settings.chunk_length) {
        throw new FedloomError(
          "F2131",
          `Cannot use sound "${name}": at most ${settings.chunk_length} s are taken (chunk_length), got ${seconds.toFixed(1)} s`,
          { sound: name, seconds },
        );
      }
      const padded = new Float32Array(Math.trunc(settings.chunk_length * settings.sampling_rate));
      const samples = atRate(sound, settings.sampling_rate).subarray(0, padded.length);
      padded.set(samples);
      padded.fill(settings.padding_value, samples.length);
      const frame = {
        width: Math.floor(padded.length / settings.hop_length),
        height: settings.feature_size,
        pixels: mel(padded),
      };
      return { frames: [frame], rows: 0, columns: 0 };
    },
  };
}
