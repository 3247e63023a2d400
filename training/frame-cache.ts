/** The frames of the images used last, up to a bound. What has left can be decoded again. */
import type { Frame } from "./models/image-processor.ts";

export class FrameCache {
  readonly #limitBytes: number;
  /** In order of use: the first is the one that was used longest ago. */
  readonly #held = new Map<string, readonly Frame[]>();
  #bytes = 0;

  /** @param limitBytes of pixels; the image put last is held even if it is larger */
  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get(key: string): readonly Frame[] | undefined {
    const frames = this.#held.get(key);
    if (frames === undefined) return undefined;
    this.#held.delete(key);
    this.#held.set(key, frames);
    return frames;
  }

  put(key: string, frames: readonly Frame[]): void {
    if (this.#held.has(key)) return;
    this.#held.set(key, frames);
    this.#bytes += bytesOf(frames);
    for (const [oldest, held] of this.#held) {
      if (this.#bytes <= this.#limitBytes || this.#held.size === 1) return;
      this.#held.delete(oldest);
      this.#bytes -= bytesOf(held);
    }
  }
}

function bytesOf(frames: readonly Frame[]): number {
  return frames.reduce((sum, { pixels }) => sum + pixels.byteLength, 0);
}
