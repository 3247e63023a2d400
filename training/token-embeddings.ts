/** Rows of the frozen embedding table, looked up once for each token that is met. */
import { floats } from "../adapters/cast.ts";
import type { Engine } from "./onnx/engine.ts";

/** Tokens looked up at a time: one shape, so that the runtime plans once. */
const BLOCK = 256;

export class TokenEmbeddings {
  readonly #engine: Engine;
  readonly #rows = new Map<number, Float32Array>();

  /** @param engine of the embed_tokens graph */
  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Fetches what is missing, so that `row` has it. */
  async load(ids: Iterable<number>): Promise<void> {
    const missing = [...new Set(ids)].filter((id) => !this.#rows.has(id));
    for (let from = 0; from < missing.length; from += BLOCK) {
      const wanted = missing.slice(from, from + BLOCK);
      const block = new BigInt64Array(BLOCK);
      wanted.forEach((id, i) => {
        block[i] = BigInt(id);
      });
      const inputs = new Map([["input_ids", { dtype: "I64", shape: [1, BLOCK], data: block } as const]]);
      const output = await this.#engine.forward({ inputs }, new Map());
      const data = floats(output) as Float32Array; // embeddings are F32 or narrower
      const width = output.shape.at(-1)!;
      wanted.forEach((id, i) => {
        this.#rows.set(id, data.slice(i * width, (i + 1) * width));
      });
    }
  }

  /** @throws TypeError for an id that was not loaded */
  row(id: number): Float32Array {
    const row = this.#rows.get(id);
    if (row === undefined) throw new TypeError(`Token ${id} was not loaded`);
    return row;
  }
}
