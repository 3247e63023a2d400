import fc from "fast-check";
import { expect, test } from "vitest";
import { bfloat16ToFloat32, float16ToFloat32, toBfloat16, toFloat16 } from "../../adapters/half.ts";

const ALL_PATTERNS = Uint16Array.from({ length: 65536 }, (_, bits) => bits);

/** IEEE 754 read off the page: sign, exponent with bias, fraction. Independent of any typed array. */
function value(bits: number, exponentBits: number, fractionBits: number): number {
  const sign = bits >>> 15 === 1 ? -1 : 1;
  const exponent = (bits >>> fractionBits) & (2 ** exponentBits - 1);
  const fraction = bits & (2 ** fractionBits - 1);
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1)
    return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * (fraction / 2 ** fractionBits) * 2 ** (1 - bias);
  return sign * (1 + fraction / 2 ** fractionBits) * 2 ** (exponent - bias);
}

const FORMATS = [
  { name: "float16", widen: float16ToFloat32, narrow: toFloat16, exponentBits: 5, fractionBits: 10 },
  { name: "bfloat16", widen: bfloat16ToFloat32, narrow: toBfloat16, exponentBits: 8, fractionBits: 7 },
];

for (const { name, widen, narrow, exponentBits, fractionBits } of FORMATS) {
  const wide = widen(ALL_PATTERNS);
  /** The positive finite values in ascending order, and infinity after them; index = bit pattern. */
  const infinityBits = (2 ** exponentBits - 1) << fractionBits;

  test(`all 65536 patterns of ${name} widen to the value the standard gives them`, () => {
    const wrong = ALL_PATTERNS.filter(
      (bits) => !Object.is(wide[bits], value(bits, exponentBits, fractionBits)),
    );
    expect([...wrong]).toEqual([]);
  });

  test(`every number of ${name} comes back with the same bits, and NaN as NaN`, () => {
    const back = narrow(wide);
    const wrong = ALL_PATTERNS.filter((bits) =>
      Number.isNaN(wide[bits])
        ? !Number.isNaN(value(back[bits]!, exponentBits, fractionBits))
        : back[bits] !== bits,
    );
    expect([...wrong]).toEqual([]);
  });

  test(`${name} rounds to the nearest number and ties to the even one, over the whole range`, () => {
    // Between each number and the next: the midpoint, and the float64 just below and above it.
    const largest = value(infinityBits - 1, exponentBits, fractionBits);
    const step = largest - value(infinityBits - 2, exponentBits, fractionBits);
    const wrong: number[] = [];
    for (let bits = 0; bits < infinityBits; bits++) {
      const low = value(bits, exponentBits, fractionBits);
      const high = bits + 1 === infinityBits ? largest + step : value(bits + 1, exponentBits, fractionBits);
      const middle = (low + high) / 2;
      const even = bits % 2 === 0 ? bits : bits + 1;
      const [below, tie, above, negativeTie] = narrow(
        Float64Array.of(middle * (1 - 2 ** -52), middle, middle * (1 + 2 ** -52), -middle),
      );
      if (below !== bits || tie !== even || above !== bits + 1 || negativeTie !== (even | 0x8000))
        wrong.push(bits);
    }
    expect(wrong).toEqual([]);
  });

  test(`${name} of a float32 is ${name} of the same number as float64`, () => {
    fc.assert(
      fc.property(fc.float32Array({ noNaN: true }), (values) => {
        expect(narrow(values)).toEqual(narrow(Float64Array.from(values)));
      }),
    );
  });

  test(`a view into the middle of a buffer is read as ${name} from where it starts`, () => {
    const view = new Uint16Array(Uint16Array.of(7, 0x3c00, 0x4000, 7).buffer, 2, 2);
    expect([...widen(view)]).toEqual([...view].map((bits) => value(bits, exponentBits, fractionBits)));
  });
}
