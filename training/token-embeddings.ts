/** Rows of the embedding table in a graph of its own: frozen ones looked up once for each token, trained ones each time. */
import { floats } from "../adapters/cast.ts";
import { float32, type TensorSet } from "../adapters/tensor.ts";
import type { Engine } from "./onnx/engine.ts";

/** Tokens looked up at a time at least: few shapes, so that the runtime plans seldom. */
const BLOCK = 256;

export class TokenEmbeddings {
  readonly #engine: Engine;
  readonly #rows = new Map<number, Float32Array>();

  /** @param engine of the embed_tokens graph */
  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Whether the table is among what is trained. */
  get isTrained(): boolean {
    return this.#engine.parameters.length > 0;
  }

  /** Fetches what is missing, so that `row` has it until the next call. */
  async load(ids: Iterable<number>, parameters: TensorSet): Promise<void> {
    // A trained row is another one after each step.
    if (this.isTrained) this.#rows.clear();
    const missing = [...new Set(ids)].filter((id) => !this.#rows.has(id));
    const size = this.isTrained ? roomFor(missing.length) : BLOCK;
    for (let from = 0; from < missing.length; from += size) {
      const wanted = missing.slice(from, from + size);
      const output = await this.#engine.forward(batchOf(wanted, size), parameters);
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

  /**
   * Gradients of what is trained, from those of the rows.
   *
   * @param slopes by token, summed over the places where it stands
   */
  async backward(slopes: ReadonlyMap<number, Float32Array>, parameters: TensorSet): Promise<TensorSet> {
    const ids = [...slopes.keys()];
    if (ids.length === 0) return new Map();
    const size = roomFor(ids.length);
    const width = slopes.get(ids[0]!)!.length;
    const data = new Float32Array(size * width);
    [...slopes.values()].forEach((slope, i) => {
      data.set(slope, i * width);
    });
    const given = float32([1, size, width], data);
    return (await this.#engine.backward(batchOf(ids, size), parameters, given)).gradients;
  }
}

const roomFor = (count: number): number => 2 ** Math.ceil(Math.log2(Math.max(BLOCK, count)));

/** The first tokens are those asked for, the rest is there for the shape. */
function batchOf(ids: readonly number[], size: number) {
  const data = new BigInt64Array(size).fill(BigInt(ids[0]!));
  ids.forEach((id, i) => {
    data[i] = BigInt(id);
  });
  return { inputs: new Map([["input_ids", { dtype: "I64", shape: [1, size], data } as const]]) };
}
