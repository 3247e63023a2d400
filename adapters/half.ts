/**
 * float16 and bfloat16 as bit patterns in a Uint16Array, both ways, round to nearest, ties to even.
 *
 * float16 is IEEE 754 binary16; the runtime's own Float16Array converts it (measured faster than a loop over
 * bits). bfloat16 is the upper half of a float32. Widening is exact; a value too large becomes infinity;
 * NaN stays NaN.
 */

export function float16ToFloat32(bits: Uint16Array): Float32Array {
  return new Float32Array(new Float16Array(bits.buffer, bits.byteOffset, bits.length));
}

/** Rounds once, from float64 too: a detour over float32 would round 1 + 2^-11 + 2^-40 down instead of up. */
export function toFloat16(values: Float32Array | Float64Array): Uint16Array {
  return new Uint16Array(new Float16Array(values).buffer);
}

export function bfloat16ToFloat32(bits: Uint16Array): Float32Array {
  const wide = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) wide[i] = bits[i]! << 16;
  return new Float32Array(wide.buffer);
}

/** Rounds once, from float64 too. */
export function toBfloat16(values: Float32Array | Float64Array): Uint16Array {
  const single = values instanceof Float32Array ? values : new Float32Array(values);
  const wide = new Uint32Array(single.buffer, single.byteOffset, single.length);
  const bits = new Uint16Array(single.length);
  for (let i = 0; i < bits.length; i++) {
    let word = wide[i]!;
    if ((word & 0x7fffffff) > 0x7f800000) {
      bits[i] = (word >>> 16) | 0x40; // a NaN whose payload lies in the lower half must not become infinity
      continue;
    }
    // A float64 that float32 rounded onto a tie was not one: step back to the side it came from.
    if ((word & 0xffff) === 0x8000 && single[i] !== values[i]) {
      word += Math.abs(values[i]!) > Math.abs(single[i]!) ? 1 : -1;
    }
    bits[i] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return bits;
}
