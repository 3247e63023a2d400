/**
 * Only the rows that changed, each by another codec: for embeddings, of which a client touches the tokens it saw.
 *
 * With fp32 inside nothing is lost, not even a bit. Tensors of one axis count as rows of one element.
 *
 * Bytes: number of rows (uint32), their indices (uint32, ascending), then the inner codec's bytes for them.
 */
import { bytesOf, type Codec, malformed } from "./codec.ts";

export function rowsOf(inner: Codec): Codec {
  const name = `rows/${inner.name}`;
  return {
    name,
    errorFeedback: inner.errorFeedback,
    encode(values, reference, shape, rng) {
      const width = widthOf(shape);
      const changed = changedRows(values, reference, width);
      const [ours, theirs] = [gather(values, changed, width), gather(reference, changed, width)];
      const encoded = inner.encode(ours, theirs, [changed.length, width], rng);
      return Buffer.concat([bytesOf(Uint32Array.of(changed.length)), bytesOf(changed), encoded]);
    },
    decode(bytes, reference, shape) {
      const width = widthOf(shape);
      const count = width === 0 ? 0 : reference.length / width;
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      const changed = bytes.length < 4 ? 0 : view.getUint32(0, true);
      if (bytes.length < 4 + 4 * changed || changed > count) {
        throw malformed(name, `${bytes.length} bytes cannot hold ${changed} of ${count} rows`);
      }
      const rows = Uint32Array.from({ length: changed }, (_, i) => view.getUint32(4 + 4 * i, true));
      for (const [i, row] of rows.entries()) {
        if (row >= count || (i > 0 && row <= rows[i - 1]!))
          throw malformed(name, `row ${row} of ${count} is out of place`);
      }
      const gathered = gather(reference, rows, width);
      const decoded = inner.decode(bytes.subarray(4 + 4 * changed), gathered, [changed, width]);
      const values = reference.slice();
      for (const [i, row] of rows.entries())
        values.set(decoded.subarray(i * width, (i + 1) * width), row * width);
      return values;
    },
  };
}

function widthOf(shape: readonly number[]): number {
  return shape.slice(1).reduce((product, dim) => product * dim, 1);
}

/** Compared bit by bit, so that -0 for 0 is a change. */
function changedRows(values: Float32Array, reference: Float32Array, width: number): Uint32Array {
  const [ours, theirs] = [wordsOf(values), wordsOf(reference)];
  const rows: number[] = [];
  for (let start = 0; start < ours.length; start += width) {
    for (let i = start; i < start + width; i++) {
      if (ours[i] !== theirs[i]) {
        rows.push(start / width);
        break;
      }
    }
  }
  return Uint32Array.from(rows);
}

function wordsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

function gather(values: Float32Array, rows: Uint32Array, width: number): Float32Array {
  const gathered = new Float32Array(rows.length * width);
  for (const [i, row] of rows.entries())
    gathered.set(values.subarray(row * width, (row + 1) * width), i * width);
  return gathered;
}
