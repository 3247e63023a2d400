/** The audit trail: who did what that changes what the coordinator does, serves or tells. */

export interface AuditEntry {
  readonly atMs: number;
  /** A site, the name on an operator's token, "local operator" for one without a token, LOCAL_COMMAND. */
  readonly who: string;
  readonly what: string;
}

/** Whoever works on the state directory itself, without asking a coordinator. */
export const LOCAL_COMMAND = "local command";

export interface Trail {
  add(entry: AuditEntry): Promise<void>;
  /** The newest `count`, the newest last. */
  newest(count: number): Promise<readonly AuditEntry[]>;
}
