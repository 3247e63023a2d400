/**
 * The regular expressions of adapter_config.json, which PEFT gives to Python's `re`.
 *
 * Syntax that means something else here than in Python, or nothing, is refused and never taken literally.
 * Expressions can be slow on purpose: run those of our own configuration and of files the user chose, never those of
 * a peer before they were found equal to our own (sameAdapterKind in compatibility.ts compares without running them).
 */
import { FedloomError } from "../base/errors.ts";

/** Long enough for a list of module names; Python's and our engine both backtrack. */
export const MAX_PATTERN_LENGTH = 4096;

/** Anchors \A \Z \z, and groups other than (?: (?= (?! (?<= (?<!: named groups, flags, comments, conditionals. */
const ONLY_PYTHON = /\\[AZz]|\(\?(?![:=!]|<[=!])|\(\?<(?![=!])|[*+?}]\+/;

/** Python's `re.fullmatch`. @throws FedloomError F3007 for an expression that is not the same in both languages */
export function matchesWhole(pattern: string, text: string): boolean {
  return compile(`^(?:${pattern})$`, pattern).test(text);
}

/** Whether the text ends with a match that begins at its start or after a dot. @throws FedloomError F3007 */
export function matchesEnd(pattern: string, text: string): boolean {
  return compile(`^(?:.*\\.)?(?:${pattern})$`, pattern).test(text);
}

function compile(source: string, pattern: string): RegExp {
  if (pattern.length > MAX_PATTERN_LENGTH) {
    throw refused(pattern, `it has ${pattern.length} characters, the limit is ${MAX_PATTERN_LENGTH}`);
  }
  const foreign = ONLY_PYTHON.exec(pattern.replaceAll(/\\\\/g, ""))?.[0];
  if (foreign !== undefined) throw refused(pattern, `"${foreign}" is Python syntax without an equal here`);
  try {
    return new RegExp(source);
  } catch {
    throw refused(pattern, "it is not a valid expression");
  }
}

function refused(pattern: string, why: string): FedloomError {
  return new FedloomError("F3007", `Cannot use the pattern "${pattern.slice(0, 80)}" of an adapter: ${why}`, {
    pattern: pattern.slice(0, 80),
  });
}
