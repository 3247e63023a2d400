/** A row of `fedloom doctor`. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** Without it fedloom cannot work at all. */
  readonly required: boolean;
  /** The version or amount found, or why it is a no. */
  readonly finding: string;
  /** The exact command that mends a no, where there is one. */
  readonly remedy?: string;
}
