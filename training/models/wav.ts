/**
 * WAV files to samples: PCM of 8, 16, 24 and 32 bits and floats of 32 and 64, in any number of channels, of which
 * the mean is taken.
 *
 * Source: Microsoft and IBM 1991, Multimedia Programming Interface and Data Specifications 1.0, "Waveform Audio"
 */
import { FedloomError } from "../../base/errors.ts";

export interface Sound {
  /** Samples a second. */
  readonly rate: number;
  /** In -1 to 1, but for what floats say beyond. */
  readonly samples: Float32Array;
}

const PCM = 1;
const FLOAT = 3;
/** The format stands in the first two bytes of the GUID at offset 24. */
const EXTENSIBLE = 0xfffe;

/** Below, a small file would grow without bound when it is brought to the model's rate; above are no sounds. */
const RATES = { min: 1000, max: 768_000 } as const;

type ReadSample = (view: DataView, at: number) => number;

/** By format and bits. Eight bits are unsigned, with silence at 128. */
const READERS: Readonly<Record<string, ReadSample>> = {
  [`${PCM} 8`]: (view, at) => (view.getUint8(at) - 128) / 2 ** 7,
  [`${PCM} 16`]: (view, at) => view.getInt16(at, true) / 2 ** 15,
  [`${PCM} 24`]: (view, at) => (view.getUint8(at) | (view.getInt16(at + 1, true) << 8)) / 2 ** 23,
  [`${PCM} 32`]: (view, at) => view.getInt32(at, true) / 2 ** 31,
  [`${FLOAT} 32`]: (view, at) => view.getFloat32(at, true),
  [`${FLOAT} 64`]: (view, at) => view.getFloat64(at, true),
};

/** @throws FedloomError F2131 where the bytes are no such file, or say more than they hold */
export function decodeWav(bytes: Uint8Array, name: string): Sound {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fail = (wanted: string, got: string): never => {
    throw new FedloomError("F2131", `Cannot read sound "${name}": ${wanted}, got ${got}`, { sound: name });
  };
  const tag = (at: number): string => String.fromCharCode(...bytes.subarray(at, at + 4));
  if (bytes.length < 12 || tag(0) !== "RIFF" || tag(8) !== "WAVE")
    return fail("a WAV file is wanted", `${bytes.length} bytes of something else`);
  let format: { read: ReadSample; channels: number; rate: number; bytesPerSample: number } | undefined;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const [chunk, size, from] = [tag(at), view.getUint32(at + 4, true), at + 8];
    if (from + size > bytes.length)
      return fail(
        `its chunk "${chunk}" of ${size} bytes must lie in the file`,
        `${bytes.length - from} bytes`,
      );
    if (chunk === "fmt ") {
      if (size < 16) return fail("a format of at least 16 bytes is wanted", `${size}`);
      const stated = view.getUint16(from, true);
      const kind = stated === EXTENSIBLE && size >= 26 ? view.getUint16(from + 24, true) : stated;
      const [channels, rate] = [view.getUint16(from + 2, true), view.getUint32(from + 4, true)];
      const bits = view.getUint16(from + 14, true);
      const read = READERS[`${kind} ${bits}`];
      if (read === undefined)
        return fail(
          "PCM of 8, 16, 24 or 32 bits or floats of 32 or 64 are wanted",
          `format ${kind} of ${bits} bits`,
        );
      if (channels === 0) return fail("at least one channel is wanted", "none");
      if (rate < RATES.min || rate > RATES.max)
        return fail(`a rate of ${RATES.min} to ${RATES.max} Hz is wanted`, `${rate} Hz`);
      format = { read, channels, rate, bytesPerSample: bits / 8 };
    }
    if (chunk === "data") {
      if (format === undefined) return fail("the format must stand before the samples", "none");
      const samples = mixed(view, from, size, format);
      if (samples.length === 0) return fail("samples are wanted", "none");
      if (!samples.every(Number.isFinite)) return fail("finite samples are wanted", "NaN or infinity");
      return { rate: format.rate, samples };
    }
    at = from + size + (size % 2); // chunks begin at even offsets
  }
  return fail("samples are wanted", "no chunk of them");
}

/** The mean of the channels. */
function mixed(
  view: DataView,
  from: number,
  size: number,
  { read, channels, bytesPerSample }: { read: ReadSample; channels: number; bytesPerSample: number },
): Float32Array {
  const samples = new Float32Array(Math.floor(size / (channels * bytesPerSample)));
  for (let i = 0; i < samples.length; i++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += read(view, from + (i * channels + c) * bytesPerSample);
    samples[i] = sum / channels;
  }
  return samples;
}
