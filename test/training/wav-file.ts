/** WAV files for tests: a header written by hand around samples that `write` puts down. */
export interface WavShape {
  readonly format: number;
  readonly bits: number;
  readonly channels: number;
  readonly rate: number;
}

export function wavFile(
  { format, bits, channels, rate }: WavShape,
  values: readonly number[],
  write: (view: DataView, at: number, value: number) => void,
): Uint8Array {
  const bytes = new Uint8Array(44 + (values.length * bits) / 8);
  const view = new DataView(bytes.buffer);
  const tag = (at: number, text: string): void => bytes.set(new TextEncoder().encode(text), at);
  tag(0, "RIFF");
  view.setUint32(4, bytes.length - 8, true);
  tag(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, format, true);
  view.setUint16(22, channels, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, (rate * channels * bits) / 8, true);
  view.setUint16(32, (channels * bits) / 8, true);
  view.setUint16(34, bits, true);
  tag(36, "data");
  view.setUint32(40, bytes.length - 44, true);
  values.forEach((value, i) => {
    write(view, 44 + (i * bits) / 8, value);
  });
  return bytes;
}

/** Mono, 16 bits. @param samples in -1 to 1 */
export const wav16 = (samples: readonly number[], rate: number): Uint8Array =>
  wavFile({ format: 1, bits: 16, channels: 1, rate }, samples, (view, at, value) =>
    view.setInt16(at, Math.round(value * 32767), true),
  );
