/**
 * Text as CPython treats it, where the benchmark's results hang on it.
 *
 * Source: CPython 3.10, Objects/unicodetype_db.h (blanks), Objects/floatobject.c (repr)
 */

/** What str.split(), str.strip() and \s of re call blank. JavaScript lacks U+001C to U+001F and U+0085, and has U+FEFF. */
const BLANK = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

const BLANKS = new RegExp(`[${BLANK}]+`);
const OUTER_BLANKS = new RegExp(`^[${BLANK}]+|[${BLANK}]+$`, "g");
const URL = new RegExp(`http[^${BLANK}]+`, "g");

/** str.split() */
export function pythonSplit(text: string): string[] {
  return text.split(BLANKS).filter((word) => word !== "");
}

/** str.strip() */
export function pythonStrip(text: string): string {
  return text.replaceAll(OUTER_BLANKS, "");
}

/** A tweet as the benchmark's prompts show it: re.sub(r"http\S+", "", text).strip() */
export function withoutUrls(text: string): string {
  return pythonStrip(text.replaceAll(URL, ""));
}

/**
 * str() of a float: the shortest digits that read back, with an exponent below 1e-4 and from 1e16 on, and always
 * a point or an exponent, so that 2.0 stays apart from 2.
 */
export function pythonFloat(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (value === 0) return Object.is(value, -0) ? "-0.0" : "0.0";
  const sign = value < 0 ? "-" : "";
  const [mantissa, power] = Math.abs(value).toExponential().split("e") as [string, string];
  const digits = mantissa.replace(".", "");
  const exponent = Number(power);
  if (exponent < -4 || exponent >= 16) {
    const tail = digits.length > 1 ? `.${digits.slice(1)}` : "";
    const shown = String(Math.abs(exponent)).padStart(2, "0");
    return `${sign}${digits[0]}${tail}e${exponent < 0 ? "-" : "+"}${shown}`;
  }
  if (exponent < 0) return `${sign}0.${"0".repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, "0");
  return `${sign}${whole}.${digits.slice(exponent + 1) || "0"}`;
}
