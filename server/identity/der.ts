/**
 * Writing ASN.1 in DER, as far as X.509 certificates need it.
 *
 * Source: ITU-T X.690; https://letsencrypt.org/docs/a-warm-welcome-to-asn1-and-der/ is the readable way in
 */

export type Der = Uint8Array;

function tagged(tag: number, ...parts: readonly Uint8Array[]): Der {
  const content = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([tag]), lengthOf(content.length), content]);
}

function lengthOf(length: number): Uint8Array {
  if (length < 0x80) return Buffer.from([length]);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Buffer.from([0x80 | bytes.length, ...bytes]);
}

export const sequence = (...parts: readonly Der[]): Der => tagged(0x30, ...parts);
export const set = (...parts: readonly Der[]): Der => tagged(0x31, ...parts);
export const octets = (content: Uint8Array): Der => tagged(0x04, content);
export const text = (value: string): Der => tagged(0x0c, Buffer.from(value, "utf8"));
export const TRUE: Der = tagged(0x01, Buffer.from([0xff]));

/** A non-negative integer from its big-endian bytes. */
export function integer(bytes: Uint8Array): Der {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const magnitude = bytes.subarray(start);
  // A set first bit would mean a negative number.
  return tagged(0x02, (magnitude[0] ?? 0) & 0x80 ? Buffer.concat([Buffer.from([0]), magnitude]) : magnitude);
}

/** @param unused bits at the end that do not count */
export const bits = (content: Uint8Array, unused = 0): Der => tagged(0x03, Buffer.from([unused]), content);

/** [n], around other elements. */
export const explicit = (n: number, ...parts: readonly Der[]): Der => tagged(0xa0 | n, ...parts);
/** [n], in place of another tag. */
export const implicit = (n: number, content: Uint8Array): Der => tagged(0x80 | n, content);

/** "1.2.840.10045.2.1" */
export function oid(dotted: string): Der {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  // The first two arcs share a number; each number goes out seven bits a byte, all but the last with the high bit.
  const bytes = [first * 40 + second, ...rest].flatMap((arc) => {
    const groups = [arc & 0x7f];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) {
      groups.unshift((left & 0x7f) | 0x80);
    }
    return groups;
  });
  return tagged(0x06, Buffer.from(bytes));
}

/** RFC 5280 wants UTCTime before 2050 and GeneralizedTime from then on, both without fractions. */
export function time(atMs: number): Der {
  const digits = new Date(atMs).toISOString().replace(/\.\d+/, "").replace(/[-:T]/g, "");
  return Number(digits.slice(0, 4)) < 2050
    ? tagged(0x17, Buffer.from(digits.slice(2)))
    : tagged(0x18, Buffer.from(digits));
}
