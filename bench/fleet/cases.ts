/** What is measured, and what a measuring process says. */

/** Clients that send back what they were handed, a little changed; the twin of flower_echo.py. */
export interface EchoSpec {
  readonly kind: "echo";
  readonly clients: number;
  /** Payload of one client in MiB, in eight tensors of equal size. */
  readonly mib: number;
  readonly rounds: number;
}

/** Clients that train an adapter of the embedded model. */
export interface NanoSpec {
  readonly kind: "nano";
  readonly clients: number;
  readonly rounds: number;
  readonly batching: boolean;
  readonly threads: number;
}

export type FleetSpec = EchoSpec | NanoSpec;

/** Rows of float32 in an echo's tensors. */
export const ECHO_WIDTH = 256;
export const ECHO_TENSORS = 8;

/** A line of standard output: a round ended, at a time of the process's own clock in seconds. */
export interface RoundLine {
  readonly round: number;
  readonly at: number;
}
