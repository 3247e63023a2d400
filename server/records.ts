/** Facts that events carry: what was handed out, what came back, what went wrong. Plain JSON. */

export interface BlobRef {
  /** 64 lower-case hexadecimal digits. */
  readonly sha256: string;
  readonly size: number;
}

/** A PEFT adapter in two blobs: adapter_config.json and adapter_model.safetensors. */
export interface AdapterRef {
  readonly config: BlobRef;
  readonly model: BlobRef;
}

type Numbers = Readonly<Record<string, number>>;

/** What training begins from. */
export interface Start {
  /** Rounds that are in it. */
  readonly version: number;
  readonly global: AdapterRef;
  /** The strategy's state that belongs to it. */
  readonly state: BlobRef;
  readonly baseDelta?: AdapterRef;
}

/** One client's result of one task. */
export interface UpdateRecord {
  readonly adapter: AdapterRef;
  /** Sets that the strategy asked for, by kind. */
  readonly extras: Readonly<Record<string, BlobRef>>;
  readonly examples: number;
  readonly steps: number;
  readonly tokens: number;
  readonly touched: Numbers;
  readonly metrics: Numbers;
  readonly durationMs: number;
  /** Keyed fingerprint of what it was trained on, where the client told one. */
  readonly dataFingerprint?: string;
}

/** Why something did not happen, as the one it happened to told it. */
export interface Failure {
  /** "offer", "fetch", "train", "evaluate", "push", "submit", "deadline". */
  readonly phase: string;
  readonly code: string;
  readonly message: string;
}

/** What a round gave. */
export interface Outcome {
  readonly global: AdapterRef;
  /** The strategy's state after the round. */
  readonly state: BlobRef;
  /** Side factors for the frozen base, all rounds so far together, where the strategy makes them. */
  readonly baseDelta?: AdapterRef;
  readonly report: Numbers;
}
