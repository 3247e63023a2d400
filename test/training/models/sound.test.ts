import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { soundProcessor } from "../../../training/models/sound-processor.ts";
import { atRate } from "../../../training/models/sound-rate.ts";
import { decodeWav } from "../../../training/models/wav.ts";
import { wav16, wavFile } from "../wav-file.ts";

const RATE = 8000;
const MONO = { format: 1, bits: 16, channels: 1, rate: RATE };

describe("a WAV file", () => {
  test.each([
    { format: 1, bits: 8, unit: 128, write: (v: DataView, at: number, x: number) => v.setUint8(at, x + 128) },
    {
      format: 1,
      bits: 16,
      unit: 2 ** 15,
      write: (v: DataView, at: number, x: number) => v.setInt16(at, x, true),
    },
    {
      format: 1,
      bits: 24,
      unit: 2 ** 23,
      write: (v: DataView, at: number, x: number) => {
        v.setUint8(at, x & 0xff);
        v.setInt16(at + 1, x >> 8, true);
      },
    },
    {
      format: 1,
      bits: 32,
      unit: 2 ** 31,
      write: (v: DataView, at: number, x: number) => v.setInt32(at, x, true),
    },
    {
      format: 3,
      bits: 32,
      unit: 1,
      write: (v: DataView, at: number, x: number) => v.setFloat32(at, x, true),
    },
    {
      format: 3,
      bits: 64,
      unit: 1,
      write: (v: DataView, at: number, x: number) => v.setFloat64(at, x, true),
    },
  ])("of format $format and $bits bits is the mean of its channels", ({ format, bits, unit, write }) => {
    const values = [0.5, 0.25, -1, -0.5, 0, 0.5].map((value) => value * unit);
    const { rate, samples } = decodeWav(
      wavFile({ format, bits, channels: 2, rate: 44_100 }, values, write),
      "a",
    );
    expect(rate).toBe(44_100);
    expect([...samples]).toEqual([0.375, -0.75, 0.25]);
  });

  test.each([
    ["a WAV file is wanted, got 3 bytes of something else", () => new Uint8Array(3)],
    ["got format 2 of 16 bits", () => wavFile({ ...MONO, format: 2 }, [0], (v, at) => v.setInt16(at, 0))],
    ["a rate of 1000 to 768000 Hz is wanted, got 1 Hz", () => wav16([0], 1)],
    [
      'its chunk "data" of 4 bytes must lie in the file, got 3 bytes',
      () => wav16([0, 0], RATE).subarray(0, 47),
    ],
    ["samples are wanted, got none", () => wav16([], RATE)],
    ["got no chunk of them", () => wav16([0], RATE).subarray(0, 36)],
    [
      "finite samples are wanted",
      () => wavFile({ ...MONO, format: 3, bits: 32 }, [Number.NaN], (v, at, x) => v.setFloat32(at, x, true)),
    ],
  ])("is refused: %s", (message, bytes) => {
    expect(() => decodeWav(bytes(), "a.wav")).toThrow(message);
    expect(() => decodeWav(bytes(), "a.wav")).toThrow(expect.objectContaining({ code: "F2131" }));
  });
});

describe("another rate", () => {
  const tone = (hz: number, rate: number): Float32Array =>
    Float32Array.from({ length: rate / 2 }, (_, i) => Math.sin((2 * Math.PI * hz * i) / rate));
  /** Largest difference, away from the ends, where the filter sees beyond the sound. */
  const apart = (a: Float32Array, b: (i: number) => number): number =>
    Math.max(...a.subarray(500, -500).map((value, i) => Math.abs(value - b(i + 500))));

  test.each([
    [44_100, 16_000],
    [48_000, 16_000],
    [8000, 16_000],
    [22_050, 16_000],
  ])("from %d to %d Hz keeps a tone", (from, to) => {
    const wanted = tone(1000, to);
    const got = atRate({ rate: from, samples: tone(1000, from) }, to);
    expect(got.length).toBe(to / 2);
    // The pass band's ripple under Kaiser's window with beta 10 is about 1e-5.
    expect(apart(got, (i) => wanted[i]!)).toBeLessThan(1e-4);
  });

  test("lets nothing above its Nyquist frequency fold back", () => {
    const got = atRate({ rate: 44_100, samples: tone(9500, 44_100) }, 16_000);
    expect(apart(got, () => 0)).toBeLessThan(1e-4); // 80 dB below
  });

  test("keeps a constant", () => {
    const got = atRate({ rate: 44_100, samples: new Float32Array(22_050).fill(0.5) }, 16_000);
    expect(apart(got, () => 0.5)).toBeLessThan(1e-6); // float32
  });
});

interface Golden {
  readonly config: { readonly sampling_rate: number; readonly padding_value?: number };
  readonly seconds: number;
  readonly shape: readonly [number, number];
  readonly features: readonly number[];
}
const goldens: Golden[] = JSON.parse(
  readFileSync(join(import.meta.dirname, "../../golden/preprocessing/log-mel.json"), "utf8"),
);

describe("features", () => {
  test.each(goldens)("of shape $shape are those of transformers' extractor", async (golden) => {
    const rate = golden.config.sampling_rate;
    const values = Array.from({ length: Math.trunc(golden.seconds * rate) }, (_, i) => {
      const t = i / rate;
      const chirp = 0.5 * Math.sin(2 * Math.PI * (200 * t + 1500 * t * t));
      return chirp + 0.05 * Math.sin(2 * Math.PI * 3100 * t);
    });
    const bytes = wavFile({ format: 3, bits: 32, channels: 1, rate }, values, (v, at, x) =>
      v.setFloat32(at, x, true),
    );
    const { frames } = await soundProcessor(golden.config, "c.json").process(bytes, "a.wav");
    expect([frames[0]!.height, frames[0]!.width]).toEqual(golden.shape);
    const apart = Math.max(...golden.features.map((value, i) => Math.abs(value - frames[0]!.pixels[i]!)));
    // The extractor computes in float32, which leaves about 1e-5 where a filter is nearly empty.
    expect(apart).toBeLessThan(1e-4);
  });

  test("a sound longer than chunk_length is refused", async () => {
    const processor = soundProcessor(
      { feature_extractor_type: "WhisperFeatureExtractor", chunk_length: 1 },
      "c",
    );
    await expect(processor.process(wav16(Array(9000).fill(0), RATE), "a.wav")).rejects.toThrow(
      'Cannot use sound "a.wav": at most 1 s are taken (chunk_length), got 1.1 s',
    );
  });

  test("a chunk_length shorter than a window is refused", async () => {
    const processor = soundProcessor(
      { feature_extractor_type: "WhisperFeatureExtractor", chunk_length: 0.02 },
      "c.json",
    );
    await expect(processor.process(wav16([0], RATE), "a.wav")).rejects.toThrow(
      'Cannot use "c.json": chunk_length: must be longer than a window (n_fft)',
    );
  });

  test("an extractor that is not Whisper's is refused at the first sound", async () => {
    const processor = soundProcessor({ feature_extractor_type: "OtherExtractor" }, "c.json");
    await expect(processor.process(wav16([0], RATE), "a.wav")).rejects.toThrow(
      'Cannot prepare sounds as "c.json" asks: feature_extractor_type must be WhisperFeatureExtractor, got "OtherExtractor"',
    );
  });
});
